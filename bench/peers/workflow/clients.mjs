// The measurements of the benchmark `workflow`, the same for every peer of Node.js. A peer's own file says how
// a workflow is submitted and when it has ended.
//
// usage: node PEER.mjs NODE_MODULES KIND URL PARENTS SECONDS CLIENTS LONE
//   PARENTS  of each node the numbers of its parents, as JSON; the last node ends last
// prints {workflows, seconds, lone_ms: [...]}
export const [modules, kind, url, parentsText, secondsText, clientsText, loneText] = process.argv.slice(2);
export const parents = JSON.parse(parentsText);

// A stuck peer must not hold up the benchmark.
const DEADLINE_MS = 300_000;

// `submit` submits a workflow and resolves when it has ended.
export async function main(submit) {
  const deadline = setTimeout(() => process.exit(3), DEADLINE_MS);
  const loneMs = [];
  for (let done = 0; done < Number(loneText); done += 1) {
    const begun = performance.now();
    await submit();
    loneMs.push(performance.now() - begun);
  }
  let workflows = 0;
  const begun = performance.now();
  const end = begun + Number(secondsText) * 1000;
  const client = async () => {
    while (performance.now() < end) {
      await submit();
      workflows += 1;
    }
  };
  await Promise.all(Array.from({ length: Number(clientsText) }, client));
  const seconds = (performance.now() - begun) / 1000;
  clearTimeout(deadline);
  process.stdout.write(JSON.stringify({ workflows, seconds, lone_ms: loneMs }), () => process.exit(0));
}

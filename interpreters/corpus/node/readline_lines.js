const rl = require("readline").createInterface({ input: process.stdin }); (async () => { for await (const l of rl) console.log(JSON.stringify(l)); console.log("done"); })();

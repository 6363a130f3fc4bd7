const fs = require("fs"), fsp = require("fs/promises"), { pipeline } = require("stream/promises"), { Transform } = require("stream");
fs.writeFile("a", "one\ntwo\nthree", { flag: "wx" }, (error) => { console.log("written", error);
  fs.readFile("a", "utf8", (error, text) => { console.log(error, text.length);
    fs.readFile("nope", (error) => { console.log(error.code, error.syscall, error.path, error.message); next(); }); }); });
try { fs.readFile("a"); } catch (error) { console.log(error.code, error.message); }
async function next() {
  await fsp.appendFile("a", "\nfour"); console.log(await fsp.readFile("a", { encoding: "utf8" }));
  try { await fsp.writeFile("a", "x", { flag: "ax" }); } catch (error) { console.log(error.code, error.message); }
  try { await fsp.readFile("none"); } catch (error) { console.log(error.code); }
  const handle = await fsp.open("a", "r+"); console.log((await handle.read(Buffer.alloc(3), 0, 3, 4)).buffer.toString(), (await handle.stat()).size); await handle.writeFile("ONE"); for await (const line of handle.readLines({ start: 0 })) console.log("line", line);
  for await (const chunk of fs.createReadStream("a", { encoding: "utf8", start: 1, end: 5, highWaterMark: 2 })) console.log(JSON.stringify(chunk));
  const out = fs.createWriteStream("b", { flags: "w" }); out.write("x"); out.end("y"); await new Promise((resolve) => out.on("finish", resolve)); console.log(fs.readFileSync("b", "utf8"), out.bytesWritten);
  const at = fs.createWriteStream("b", { flags: "r+", start: 1 }); at.end("Z"); await new Promise((resolve) => at.on("close", resolve)); console.log(fs.readFileSync("b", "utf8"));
  fs.createReadStream("gone").on("error", (error) => console.log(error.code)).on("close", async () => {
    await pipeline(fs.createReadStream("a"), new Transform({ transform(chunk, _, done) { done(null, chunk.toString().toUpperCase()); } }), fs.createWriteStream("c")); console.log(fs.readFileSync("c", "utf8"));
    await pipeline(fs.createReadStream("c"), process.stdout); console.log();
    console.log((await fsp.readdir(".", { withFileTypes: true })).map((e) => e.name).filter((n) => n.length === 1).sort(), await fsp.access("c"), await fsp.rm("c"), fs.existsSync("c"));
    fs.stat("a", (e, s) => { console.log(s.isFile(), s.size); fs.mkdir("m/n", { recursive: true }, (e, first) => { console.log(e, typeof first); fs.exists("m", (yes) => console.log(yes)); }); });
  });
}

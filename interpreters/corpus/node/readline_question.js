const rl = require("readline").createInterface({ input: process.stdin, output: process.stdout }); rl.question("name? ", (n) => { console.log("hi", n); rl.close(); });

process.stdin.setEncoding("utf8"); let all = ""; process.stdin.on("data", (c) => (all += c)); process.stdin.on("end", () => console.log("end", JSON.stringify(all)));

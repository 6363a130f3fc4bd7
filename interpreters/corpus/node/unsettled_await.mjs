import fs from "fs"; export {}; process.on("exit", (c) => console.log("exit", c)); await new Promise(() => {});

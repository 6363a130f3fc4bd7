const fs = require("fs"); const text = fs.readFileSync(0); console.log(text.length, JSON.stringify(text.toString()), JSON.stringify(fs.readFileSync(0, "utf8")));

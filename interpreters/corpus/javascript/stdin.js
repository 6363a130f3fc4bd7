const t=require("fs").readFileSync(0,"utf8").trim().split("\n"); console.log(t.length,t);

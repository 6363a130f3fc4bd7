const c=require("crypto"); console.log(c.createHash("sha256").update("abc").digest("hex"),c.createHash("md5").update("").digest("base64"),c.randomUUID().length);

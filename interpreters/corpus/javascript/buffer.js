const b=Buffer.from("héllo"); console.log(b,b.toString("hex"),b.toString("base64"),Buffer.concat([b,Buffer.from([33])]).toString(),Buffer.byteLength("é"),b.equals(Buffer.from("héllo")));

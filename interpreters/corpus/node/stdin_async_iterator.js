(async () => { const parts = []; for await (const c of process.stdin) parts.push(c); console.log(Buffer.concat(parts)); })();

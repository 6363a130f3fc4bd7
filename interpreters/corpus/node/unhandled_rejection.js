process.on("exit", (code) => console.log("exit", code)); Promise.reject(new Error("no")); setTimeout(() => console.log("never"), 10);

process.on("exit", (code) => console.log("exit", code)); setTimeout(() => console.log("never"), 10); throw new TypeError("boom");

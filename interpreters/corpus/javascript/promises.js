const log=x=>console.log(x); setTimeout(log,0,"timeout"); Promise.resolve().then(()=>log("micro")); queueMicrotask(()=>log("queued")); log("sync");

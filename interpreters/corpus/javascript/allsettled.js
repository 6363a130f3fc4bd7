Promise.allSettled([1,Promise.reject("e"),Promise.resolve({})]).then(r=>console.log(r)); Promise.any([Promise.reject(1),Promise.resolve(2)]).then(console.log);

async function* g(){for(let i=0;i<3;i++){await null;yield i}} (async()=>{for await(const x of g())console.log(x)})();

const memo=f=>{const c=new Map;return x=>c.has(x)?c.get(x):(c.set(x,f(x)),c.get(x))}; let calls=0; const sq=memo(x=>(calls++,x*x)); console.log(sq(4),sq(4),calls);

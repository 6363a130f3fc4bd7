const m=new Map([["a",1],["b",{c:2}]]), s=new Set([1,"x",[2]]); console.log(m,s,[...m.keys()],m.size,s.has(1));

const o={d:new Date(0),m:new Map([[1,{x:1}]]),s:new Set([1]),a:[1,,3]}; o.self=o; const c=structuredClone(o); console.log(c.self===c,c.d.getTime(),c.m.get(1)!==o.m.get(1),c.a);

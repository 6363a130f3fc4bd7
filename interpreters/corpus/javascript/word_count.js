const t="the cat and the hat"; const c=t.split(" ").reduce((m,w)=>m.set(w,(m.get(w)??0)+1),new Map); console.log([...c].sort(([a,x],[b,y])=>y-x||a.localeCompare(b)));

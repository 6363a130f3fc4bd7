const qn=(n,r=0,c=[])=>r===n?1:Array.from({length:n},(_, i)=>i).filter(i=>c.every((x,j)=>x!==i&&Math.abs(x-i)!==r-j)).reduce((s,i)=>s+qn(n,r+1,[...c,i]),0); console.log([1,2,3,4,5,6].map(n=>qn(n)));

const mk=()=>{let c=0;return{inc:()=>++c,get v(){return c}}}; const k=mk(); k.inc(); k.inc(); console.log(k.v,[1,2,3].map((x,i,a)=>x*i+a.length));

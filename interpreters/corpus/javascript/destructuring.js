const {a,b:{c=5,...r}={},...o}={a:1,b:{d:2,e:3},f:4}; const [x,,y=9,...z]=[1,2,undefined,4,5]; console.log(a,c,r,o,x,y,z);

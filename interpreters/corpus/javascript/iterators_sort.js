const s=[{n:"b",v:1},{n:"a",v:1},{n:"c",v:0}]; console.log(s.sort((x,y)=>x.v-y.v||(x.n<y.n?-1:1)).map(x=>x.n).join(""),[10,9,1].sort(),["b","a"].reverse());

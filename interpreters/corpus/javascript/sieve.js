const n=100, s=new Uint8Array(n+1).fill(1); s[0]=s[1]=0;
for (let i=2;i*i<=n;i++) if (s[i]) for (let j=i*i;j<=n;j+=i) s[j]=0;
console.log([...s.keys()].filter(i=>s[i]).join(" "));

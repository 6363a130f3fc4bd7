const p=new Proxy({a:1},{get:(t,k)=>k in t?t[k]:`no ${String(k)}`,has:()=>true,set(t,k,v){t[k]=v*2;return true}}); p.b=4; console.log(p.a,p.b,p.zz,"q" in p);

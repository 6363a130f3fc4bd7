const rows="a,b\n1,2\n3,4".split("\n").map(l=>l.split(",")); const[h,...d]=rows; console.log(d.map(r=>Object.fromEntries(h.map((k,i)=>[k,+r[i]]))));

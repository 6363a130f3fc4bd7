const o={a:{b:[1]},f(){return this.a}}; console.log(o?.a?.b?.[0],o.x?.y.z,o.f?.().b,o.g?.(),null??"d",0||"or",0??"nn"); let q=null; q??=5; q&&=6; console.log(q);

console.log(JSON.stringify({a:[1,{b:2}],c:"é\n",d:undefined,e:NaN,f:new Date(0)},null,2)); console.log(JSON.parse('{"x":[1,2]}',(k,v)=>typeof v==="number"?v*2:v));

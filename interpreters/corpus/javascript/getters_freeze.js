const o=Object.freeze({a:1,get b(){return 2}}); console.log(o,Object.isFrozen(o),Object.getOwnPropertyDescriptor(o,"a"),Object.entries(o));

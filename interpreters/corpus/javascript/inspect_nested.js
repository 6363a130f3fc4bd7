console.log({a:{b:{c:{d:1}}},f(){},g:()=>1,h:class X{},s:Symbol("q"),n:null,u:undefined,"k-y":"it's"}); console.log([[1,[2,[3,[4]]]]], [,1], [undefined,null]);

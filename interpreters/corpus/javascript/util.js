const u=require("util"); console.log(u.inspect({a:{b:{c:{}}}},{depth:0}),u.format("%s:%d","a",1),u.isDeepStrictEqual({a:[1]},{a:[1]}),u.types.isDate(new Date));

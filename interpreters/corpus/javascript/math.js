console.log(Math.hypot(3,4),Math.max(...[1,5]),Math.sign(-3),Math.trunc(-1.7),Math.cbrt(27),Math.clz32(1),Math.fround(5.5),Math.imul(3,4),2**10,-7%3,7>>>1,~5,5&3);

const fib=n=>{let [a,b]=[0n,1n];while(n--)[a,b]=[b,a+b];return a}; console.log(fib(100), String(fib(300)));

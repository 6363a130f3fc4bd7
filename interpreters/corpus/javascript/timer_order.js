setTimeout(()=>console.log(3),15); setTimeout(()=>console.log(1),1); setTimeout(()=>console.log(2),6); clearTimeout(setTimeout(()=>console.log("never"),2));

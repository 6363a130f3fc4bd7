o:for(let i=0;i<3;i++){for(let j=0;j<3;j++){if(j===1)continue o;if(i===2)break o;console.log(i,j)}} switch(3){case 1:case 3:console.log("three");default:console.log("fall")}

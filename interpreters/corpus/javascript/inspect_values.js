console.log(-0,[1.5,-0],"str",["str"],true,10n,[10n],/re/g,new Date(0),[new Date(0)],new Error("x").message);

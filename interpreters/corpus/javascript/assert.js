const a=require("assert"); a.deepStrictEqual({x:[1]},{x:[1]}); a.throws(()=>{throw new TypeError("t")},TypeError); try{a.strictEqual(1,2)}catch(e){console.log(e.name,e.code)}

console.log(Array.from({length:120},(_, i)=>i)); console.log(Object.fromEntries(Array.from({length:12},(_, i)=>["key"+i,"value "+i])));

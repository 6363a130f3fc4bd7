const t=(s,...v)=>s.raw.join("|")+v.join(); console.log(t`a${1}\n${2}b`,String.raw`\t${3}`);

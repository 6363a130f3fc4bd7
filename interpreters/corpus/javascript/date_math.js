const d=new Date(Date.UTC(2023,0,31)); d.setUTCMonth(1); console.log(d.toISOString().slice(0,10),Math.round((Date.UTC(2024,0,1)-Date.UTC(2023,0,1))/864e5));

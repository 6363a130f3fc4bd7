const d=new Date(Date.UTC(2024,1,29,12,30)); console.log(d.toISOString(),d.getUTCDay(),JSON.stringify(d),new Date("2024-03-01T00:00:00Z")-d,isNaN(new Date("x")));

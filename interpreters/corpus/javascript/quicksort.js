const qs=([p,...r])=>p===undefined?[]:[...qs(r.filter(x=>x<p)),p,...qs(r.filter(x=>x>=p))]; console.log(qs([5,3,8,1,9,2,7]).join());

console.group("G"); console.log("in\nner"); console.groupEnd(); console.count(); console.count(); console.table([{a:1,b:2},{a:3,b:4}]); console.dir({a:1}); console.assert(true,"no");

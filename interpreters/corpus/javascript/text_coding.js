const u=new TextEncoder().encode("héé€😀"); console.log(u.length,new TextDecoder().decode(u),btoa("hello"),atob("aGk="),encodeURIComponent("a b&é"),escape("é"));

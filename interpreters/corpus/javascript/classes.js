class A{#p=1;static n=0;constructor(){A.n++}get p(){return this.#p}set p(v){this.#p=v}static make(){return new this}toString(){return `A(${this.#p})`}} class B extends A{get p(){return super.p*10}}
const b=B.make(); b.q=2; console.log(b.p,`${b}`,A.n,b,b instanceof A,Object.keys(b));

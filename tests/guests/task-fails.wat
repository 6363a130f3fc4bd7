;; Fails in the way its input's first byte says: 0 invalid-input, 1 permanent, 2 transient. The
;; message is the whole input.
(core module $code
  (memory (export "memory") 2)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (param $body i32) (param $body_len i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 1))
    (i32.store8 (i32.const 20) (i32.sub (i32.load8_u (local.get $body)) (i32.const 48)))
    (i32.store (i32.const 24) (local.get $body))
    (i32.store (i32.const 28) (local.get $body_len))
    (i32.const 16))
  (func (export "describe") (result i32) (i32.const 64)))

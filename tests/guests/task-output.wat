;; Answers with as many bytes as its input says, a little-endian 32-bit number.
(core module $code
  (memory (export "memory") 2)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (param $body i32) (param i32) (result i32)
    ;; Room for a gibibyte, where the limits allow it.
    (drop (memory.grow (i32.const 16398)))
    (i32.store (i32.const 32) (i32.load (local.get $body)))
    (i32.store (i32.const 28) (i32.const 8192))
    (i32.const 16))
  (func (export "describe") (result i32) (i32.const 64)))

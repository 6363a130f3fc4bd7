;; A task module that computes for ever when it is asked to describe itself.
(core module $code
  (memory (export "memory") 2)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (param i32 i32) (result i32) (i32.const 16))
  (func (export "describe") (result i32) (loop (br 0)) unreachable))

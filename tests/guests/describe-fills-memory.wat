;; A task module that fills 126 MiB again and again when it is asked to describe itself.
(core module $code
  (memory (export "memory") 2)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (param i32 i32) (result i32) (i32.const 16))
  (func (export "describe") (result i32)
    (drop (memory.grow (i32.const 2014)))
    (loop $again
      (memory.fill (i32.const 65536) (i32.const 7) (i32.const 132055040))
      (br $again))
    unreachable))

;; Fills and copies 64 MiB for ever: it executes few instructions, each of which takes long.
(module
  (memory (export "memory") 1024)
  (func (export "_start")
    (loop $again
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 67108864))
      (memory.copy (i32.const 0) (i32.const 33554432) (i32.const 33554432))
      (br $again))))

;; Writes to standard output, standard error and a file in /out, takes two more pages of memory, and then
;; computes for ever.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "left")
  ;; One buffer: the word above.
  (data (i32.const 16) "\00\00\00\00\04\00\00\00")
  (func $write (param $to i32)
    (if (call $fd_write (local.get $to) (i32.const 16) (i32.const 1) (i32.const 36)) (then unreachable)))
  (func (export "_start")
    ;; Descriptor 4 is /out.
    (if (call $path_open (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 1)
          (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 32))
      (then unreachable))
    (call $write (i32.const 1))
    (call $write (i32.const 2))
    (call $write (i32.load (i32.const 32)))
    (drop (memory.grow (i32.const 2)))
    (loop (br 0))))

;; Writes a byte to standard output and then sleeps for 584 years.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; One buffer of a byte at 8.
  (data (i32.const 0) "\08\00\00\00\01\00\00\00.")
  (func (export "_start")
    (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 512)) (then unreachable))
    ;; One subscription at 16: a relative timer on the monotonic clock.
    (i32.store (i32.const 32) (i32.const 1))
    (i64.store (i32.const 40) (i64.const -1))
    (drop (call $poll (i32.const 16) (i32.const 144) (i32.const 1) (i32.const 272)))))

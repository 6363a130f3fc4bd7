;; Waits for a fifth of a second, draws eight random bytes and writes them.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; One buffer of eight bytes at 8.
  (data (i32.const 0) "\08\00\00\00\08\00\00\00")
  (func (export "_start")
    ;; One subscription at 16: a relative timer on the monotonic clock.
    (i32.store (i32.const 32) (i32.const 1))
    (i64.store (i32.const 40) (i64.const 200000000))
    (drop (call $poll (i32.const 16) (i32.const 144) (i32.const 1) (i32.const 272)))
    (drop (call $random (i32.const 8) (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 512)))))

;; Writes a line to standard output every tenth of a second for three seconds, and then another one.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "tick\n")
  (data (i32.const 8) "the end\n")
  ;; One subscription at 64: a relative timer on the monotonic clock.
  (data (i32.const 80) "\01")
  (func $say (param $from i32) (param $bytes i32)
    (i32.store (i32.const 32) (local.get $from))
    (i32.store (i32.const 36) (local.get $bytes))
    (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 40))))
  (func (export "_start")
    (local $left i32)
    (local.set $left (i32.const 30))
    (loop $again
      (call $say (i32.const 0) (i32.const 5))
      (i64.store (i32.const 88) (i64.const 100000000))
      (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))
    (call $say (i32.const 8) (i32.const 8))))

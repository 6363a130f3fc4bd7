;; Waits for a thousand timers at once.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 8)
  (func (export "_start")
    (local $at i32)
    (loop $next
      (i32.store offset=16 (local.get $at) (i32.const 1))
      (local.set $at (i32.add (local.get $at) (i32.const 48)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 48000))))
    (drop (call $poll (i32.const 0) (i32.const 131072) (i32.const 1000) (i32.const 60000)))))

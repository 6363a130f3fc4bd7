;; Creates up to a million empty files until the host refuses, and exits with the number of the
;; refusal (51 is "no space"), or with 0. Descriptor 3 is /work.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  ;; The name: eight letters from a to p, one for each four bits of the number.
  (func $name (param $number i32)
    (local $at i32)
    (loop $next
      (i32.store8 (local.get $at)
        (i32.add (i32.const 97) (i32.and (local.get $number) (i32.const 15))))
      (local.set $number (i32.shr_u (local.get $number) (i32.const 4)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 8)))))
  (func (export "_start")
    (local $number i32) (local $errno i32)
    (loop $next
      (call $name (local.get $number))
      (local.set $errno
        (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 5)
          (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 32)))
      (if (local.get $errno) (then (call $proc_exit (local.get $errno))))
      (drop (call $fd_close (i32.load (i32.const 32))))
      (local.set $number (i32.add (local.get $number) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $number) (i32.const 1000000))))
    (call $proc_exit (i32.const 0))))

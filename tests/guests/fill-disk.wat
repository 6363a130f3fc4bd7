;; Writes one file until the host refuses, and exits with the number of the refusal
;; (51 is "no space"). Descriptor 4 is /out.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "big")
  ;; One buffer of 64 KiB.
  (data (i32.const 16) "\00\00\01\00\00\00\01\00")
  (func (export "_start")
    (local $errno i32)
    (local.set $errno
      (call $path_open (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 1)
        (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 32)))
    (if (local.get $errno) (then (call $proc_exit (i32.const 1))))
    (loop $again
      (local.set $errno
        (call $fd_write (i32.load (i32.const 32)) (i32.const 16) (i32.const 1) (i32.const 36)))
      (br_if $again (i32.eqz (local.get $errno))))
    (call $proc_exit (local.get $errno))))

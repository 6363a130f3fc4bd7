;; Writes the file "one" of the directory behind descriptor 3 to standard output; exits with the
;; error's number. The first descriptor after the streams is the first granted directory.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "one")
  ;; One buffer of 4096 bytes at 1024.
  (data (i32.const 16) "\00\04\00\00\00\10\00\00")
  (func $expect_none (param $errno i32)
    (if (local.get $errno) (then (call $proc_exit (local.get $errno)))))
  (func (export "_start")
    (call $expect_none
      (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 0)
        (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 32)))
    (call $expect_none
      (call $fd_read (i32.load (i32.const 32)) (i32.const 16) (i32.const 1) (i32.const 36)))
    (i32.store (i32.const 20) (i32.load (i32.const 36)))
    (call $expect_none
      (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 40)))))

;; Makes a file long without writing much: by seeking past its end, by writing at an offset, by
;; setting its size, by allocating. Exits with 51 ("no space") if the host refuses the first three
;; with that error, and with 1 otherwise. Descriptor 3 is /work.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek"
    (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite"
    (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size"
    (func $set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_allocate"
    (func $fd_allocate (param i32 i64 i64) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "sparse")
  ;; One byte.
  (data (i32.const 16) "\00\00\00\00\01\00\00\00")
  (func $expect (param $errno i32) (param $expected i32)
    (if (i32.ne (local.get $errno) (local.get $expected)) (then (call $proc_exit (i32.const 1)))))
  (func (export "_start")
    (local $fd i32)
    (call $expect
      (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 1)
        (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 32))
      (i32.const 0))
    (local.set $fd (i32.load (i32.const 32)))
    (call $expect
      (call $fd_seek (local.get $fd) (i64.const 0x10000000000) (i32.const 0) (i32.const 40))
      (i32.const 0))
    (call $expect
      (call $fd_write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 36))
      (i32.const 51))
    (call $expect
      (call $fd_pwrite (local.get $fd) (i32.const 16) (i32.const 1)
        (i64.const 0x4000000000000) (i32.const 36))
      (i32.const 51))
    (call $expect
      (call $set_size (local.get $fd) (i64.const 0x1000000000000000)) (i32.const 51))
    ;; Not supported at all.
    (call $expect
      (call $fd_allocate (local.get $fd) (i64.const 0) (i64.const 0x1000000000000000))
      (i32.const 58))
    (call $proc_exit (i32.const 51))))

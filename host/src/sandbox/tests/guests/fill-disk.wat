;; Writes 64 KiB pieces to /work/file until that is refused, and ends with the error's number.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "file")
  (func (export "_start")
    (local $errno i32)
    ;; Descriptor 5 is the third preopen, /work.
    (local.set $errno
      (call $open (i32.const 5) (i32.const 0) (i32.const 16) (i32.const 4) (i32.const 9)
        (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 32)))
    (if (local.get $errno) (then (call $exit (local.get $errno))))
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 65536))
    (loop $more
      (local.set $errno
        (call $write (i32.load (i32.const 32)) (i32.const 0) (i32.const 1) (i32.const 40)))
      (br_if $more (i32.eqz (local.get $errno))))
    (call $exit (local.get $errno))))

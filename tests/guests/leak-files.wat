;; Opens the same file over and over and closes none. Ends with the error's number.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "file")
  (func (export "_start")
    (local $errno i32)
    ;; Descriptor 3 is /work; the file is created by the first.
    (loop $again
      (local.set $errno
        (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 1)
          (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 32)))
      (br_if $again (i32.eqz (local.get $errno))))
    (call $exit (local.get $errno))))

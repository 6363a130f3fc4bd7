;; Moves descriptors about, so a host that mixed up files and numbers would count the wrong writes.
;; Exits with 51 ("no space") if every write past the quota is refused, with 1 if not. Descriptor 3
;; is /work, 4 is /out, 5 is /in.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber"
    (func $fd_renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size"
    (func $set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $create_directory (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "ab")
  (func $expect (param $errno i32) (param $expected i32)
    (if (i32.ne (local.get $errno) (local.get $expected)) (then (call $proc_exit (i32.const 1)))))
  (func $open (param $dir i32) (param $name i32) (result i32)
    (call $expect
      (call $path_open (local.get $dir) (i32.const 0) (local.get $name) (i32.const 1)
        (i32.const 1) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 32))
      (i32.const 0))
    (i32.load (i32.const 32)))
  (func (export "_start")
    (local $a i32) (local $b i32)
    ;; /out takes the number of /in before anything was used.
    (call $expect (call $fd_renumber (i32.const 4) (i32.const 5)) (i32.const 0))
    (local.set $a (call $open (i32.const 5) (i32.const 0)))
    (local.set $b (call $open (i32.const 3) (i32.const 1)))
    ;; A file takes the number of another, and of standard input.
    (call $expect (call $fd_renumber (local.get $b) (local.get $a)) (i32.const 0))
    (call $expect (call $set_size (local.get $a) (i64.const 100)) (i32.const 0))
    (call $expect (call $set_size (local.get $b) (i64.const 1)) (i32.const 8))
    (call $expect (call $fd_renumber (local.get $a) (i32.const 0)) (i32.const 0))
    (call $expect (call $set_size (i32.const 0) (i64.const 0x10000000000)) (i32.const 51))
    (call $expect (call $fd_renumber (i32.const 9999) (i32.const 0)) (i32.const 8))
    (call $expect (call $set_size (i32.const 0) (i64.const 200)) (i32.const 0))
    (call $expect (call $fd_close (i32.const 0)) (i32.const 0))
    (call $expect (call $set_size (i32.const 0) (i64.const 1)) (i32.const 8))
    ;; A closed descriptor is not a directory, and neither is a file.
    (call $expect (call $fd_close (i32.const 3)) (i32.const 0))
    (call $expect (call $create_directory (i32.const 3) (i32.const 0) (i32.const 2)) (i32.const 8))
    (local.set $a (call $open (i32.const 5) (i32.const 0)))
    (call $expect (call $create_directory (local.get $a) (i32.const 0) (i32.const 2)) (i32.const 8))
    (call $expect (call $set_size (local.get $a) (i64.const 0x10000000000)) (i32.const 51))
    (call $proc_exit (i32.const 51))))

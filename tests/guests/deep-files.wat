;; Makes a file under /out, then 20 nested folders, each from the descriptor of its parent and with
;; a name of 255 bytes, and a file in the last. Its path is longer than a file system accepts. With
;; an argument it then runs for ever. It exits with the number of a refusal. Descriptor 4 is /out.
(module
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $path_create_directory (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get"
    (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func $hold (param $errno i32)
    (if (local.get $errno) (then (call $proc_exit (local.get $errno)))))
  (func $make_file (param $dir i32) (param $name_bytes i32)
    (call $hold
      (call $path_open (local.get $dir) (i32.const 0) (i32.const 64) (local.get $name_bytes)
        (i32.const 1) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 32))))
  (func (export "_start")
    (local $dir i32) (local $level i32)
    (memory.fill (i32.const 64) (i32.const 110) (i32.const 255))
    (local.set $dir (i32.const 4))
    (call $make_file (local.get $dir) (i32.const 4))
    (loop $next
      (call $hold
        (call $path_create_directory (local.get $dir) (i32.const 64) (i32.const 255)))
      (call $hold
        (call $path_open (local.get $dir) (i32.const 0) (i32.const 64) (i32.const 255)
          (i32.const 2) (i64.const 0x1fffffbf) (i64.const 0x1fffffff) (i32.const 0)
          (i32.const 32)))
      (local.set $dir (i32.load (i32.const 32)))
      (local.set $level (i32.add (local.get $level) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $level) (i32.const 20))))
    (call $make_file (local.get $dir) (i32.const 255))
    (call $hold (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (if (i32.gt_u (i32.load (i32.const 0)) (i32.const 1))
      (then (loop $for_ever (br $for_ever))))))

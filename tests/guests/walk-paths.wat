;; Asks for ever for the metadata of a path with 2,000 steps that does not exist, and for the
;; entries of a directory. The host does almost all of the work. Descriptor 3 is /work.
(module
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir"
    (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func $hold (param $errno i32)
    (if (local.get $errno) (then (call $proc_exit (local.get $errno)))))
  (func (export "_start")
    (local $at i32)
    (loop $next
      (i32.store16 (i32.add (local.get $at) (i32.const 64)) (i32.const 0x2f2e))
      (local.set $at (i32.add (local.get $at) (i32.const 2)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 4000))))
    (loop $for_ever
      (call $hold
        (call $path_filestat_get
          (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4000) (i32.const 8192)))
      (call $hold
        (call $fd_readdir
          (i32.const 3) (i32.const 8192) (i32.const 4096) (i64.const 0) (i32.const 0)))
      (br $for_ever))))

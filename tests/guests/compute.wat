;; Computes for as many hundredths of a second, or more, as the digit on standard input says.
(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; One buffer of a byte at 16.
  (data (i32.const 0) "\10\00\00\00\01\00\00\00")
  (func (export "_start") (local $left i64)
    (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
    (local.set $left
      (i64.mul
        (i64.sub (i64.load8_u (i32.const 16)) (i64.const 48))
        (i64.const 40000000)))
    (loop $next
      (if (i64.eqz (local.get $left)) (then return))
      (local.set $left (i64.sub (local.get $left) (i64.const 1)))
      (br $next))))

;; Reports progress of NaN, 7 and -1, and then with a note of 32 MiB.
(component
  (import "cofferdam:task/context@0.1.0" (instance $context
    (export "progress" (func (param "fraction" f64) (param "note" string)))))
  (core module $memory (memory (export "memory") 600))
  (core instance $memory (instantiate $memory))
  (core func $progress
    (canon lower (func $context "progress") (memory (core memory $memory "memory"))))
  (core module $code
    (import "host" "progress" (func $progress (param f64 i32 i32)))
    (func (export "run") (result i32)
      (call $progress (f64.const nan) (i32.const 0) (i32.const 0))
      (call $progress (f64.const 7) (i32.const 0) (i32.const 0))
      (call $progress (f64.const -1) (i32.const 0) (i32.const 0))
      (call $progress (f64.const 0) (i32.const 0) (i32.const 33554432))
      (i32.const 0)))
  (core instance $guest
    (instantiate $code (with "host" (instance (export "progress" (func $progress))))))
  (func $run (result (result)) (canon lift (core func $guest "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))

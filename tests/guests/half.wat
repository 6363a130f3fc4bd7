;; Reports half of its progress, with a note, and then spins.
(component
  (import "cofferdam:task/context@0.1.0" (instance $context
    (export "progress" (func (param "fraction" f64) (param "note" string)))))
  (core module $memory (memory (export "memory") 600))
  (core instance $memory (instantiate $memory))
  (core func $progress
    (canon lower (func $context "progress") (memory (core memory $memory "memory"))))
  (core module $code
    (import "host" "progress" (func $progress (param f64 i32 i32)))
    (import "memory" "memory" (memory 600))
    (func (export "run") (result i32)
      (i32.store (i32.const 0) (i32.const 0x666c6168))
      (call $progress (f64.const 0.5) (i32.const 0) (i32.const 4))
      (loop $again (br $again))
      (i32.const 0)))
  (core instance $guest
    (instantiate $code
      (with "host" (instance (export "progress" (func $progress))))
      (with "memory" (instance $memory))))
  (func $run (result (result)) (canon lift (core func $guest "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))

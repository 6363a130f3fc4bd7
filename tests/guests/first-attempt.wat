;; Fails unless it is told that this is its first attempt.
(component
  (import "cofferdam:task/context@0.1.0" (instance $context
    (export "attempt" (func (result u32)))))
  (core func $attempt (canon lower (func $context "attempt")))
  (core module $code
    (import "host" "attempt" (func $attempt (result i32)))
    (func (export "run") (result i32)
      (i32.ne (call $attempt) (i32.const 1))))
  (core instance $guest
    (instantiate $code (with "host" (instance (export "attempt" (func $attempt))))))
  (func $run (result (result)) (canon lift (core func $guest "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))

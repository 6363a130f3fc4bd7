;; A command component whose `run` returns an error, which is exit code 1.
(component
  (core module $code (func (export "run") (result i32) (i32.const 1)))
  (core instance $guest (instantiate $code))
  (func $run (result (result)) (canon lift (core func $guest "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))

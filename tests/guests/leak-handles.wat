;; Makes its own resources and keeps every handle.
(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core module $code
    (import "host" "new" (func $new (param i32) (result i32)))
    (func (export "run") (result i32)
      (loop $more (drop (call $new (i32.const 1))) (br $more))
      unreachable))
  (core instance $guest (instantiate $code (with "host" (instance (export "new" (func $new))))))
  (func $run (result (result)) (canon lift (core func $guest "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))

(component
  (core module $a (func (export "f")))
  (component $b (core module (func)) (component))
  (core instance (instantiate $a))
  (import "wasi:cli/environment@0.2.0" (instance))
  (import "plain" (func)))

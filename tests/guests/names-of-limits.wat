;; Traps in functions whose names are the host's own error messages for limits.
(module
  (memory (export "memory") 1)
  (func $innermost (@name "cannot allocate another handle: store handle limit exceeded")
    (unreachable))
  (func $inner (@name "requested len 9 exceeds limit 1") (call $innermost))
  (func $outer (@name "fuel allocated for hostcalls has been exhausted") (call $inner))
  (func $start (@name "the disk quota is 1 bytes and the guest asked for 2") (call $outer))
  (export "_start" (func $start)))

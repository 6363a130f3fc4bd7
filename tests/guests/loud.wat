;; The core of a task module whose texts are all too long: a summary of 1 MiB, and an output
;; whose media type has 3 MiB. Both consist of NUL characters, which fresh memory is full of.
  (core module $code
    (memory (export "memory") 128)
    (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
      (i32.const 6291456))
    (func (export "run") (param $type i32) (param $type_len i32) (param $body i32) (param $body_len i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (i32.const 65536))
      (i32.store (i32.const 24) (i32.const 3145728))
      (i32.store (i32.const 28) (i32.const 16))
      (i32.store (i32.const 32) (i32.const 1))
      (i32.const 16))
    (func (export "describe") (result i32)
      (i32.store (i32.const 64) (i32.const 65536))
      (i32.store (i32.const 68) (i32.const 1048576))
      (i32.const 64)))

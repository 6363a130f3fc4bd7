;; Logs the same line, with one field, a thousand times.
(component
  (import "cofferdam:task/log@0.1.0" (instance $log
    (type $level' (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level')))
    (type $field' (record (field "key" string) (field "value" string)))
    (export "field" (type $field (eq $field')))
    (export "emit"
      (func (param "level" $level) (param "message" string) (param "fields" (list $field))))))
  (core module $memory
    (memory (export "memory") 1)
    (data (i32.const 0) "disk \"full\"\nrowa7")
    ;; The field at 64: its key and its value, each a pointer and a length.
    (data (i32.const 64) "\0c\00\00\00\03\00\00\00\0f\00\00\00\02\00\00\00"))
  (core instance $memory (instantiate $memory))
  (core func $emit (canon lower (func $log "emit") (memory (core memory $memory "memory"))))
  (core module $code
    (import "host" "emit" (func $emit (param i32 i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (local $left i32)
      (local.set $left (i32.const 1000))
      (loop $again
        (call $emit (i32.const 3) (i32.const 0) (i32.const 12) (i32.const 64) (i32.const 1))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $again (local.get $left)))
      (i32.const 0)))
  (core instance $guest (instantiate $code (with "host" (instance (export "emit" (func $emit))))))
  (func $run (result (result)) (canon lift (core func $guest "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))

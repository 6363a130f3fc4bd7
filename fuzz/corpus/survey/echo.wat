;; A task module that answers with its input. It is written by hand so that it has nothing to
;; initialise: a run of it is the cost of a sandbox.
(component
  (core module $code
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 4096))
    (data (i32.const 1024) "Answers with its input.")
    ;; Allocates upwards and never frees; one instance serves one call.
    (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local $end i32)
      (local.set $at
        (i32.and
          (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $align))))
      (local.set $end (i32.add (local.get $at) (local.get $size)))
      (if (i32.gt_u (local.get $end) (i32.shl (memory.size) (i32.const 16)))
        (then
          (if (i32.eq (i32.const -1)
                (memory.grow
                  (i32.shr_u
                    (i32.add
                      (i32.sub (local.get $end) (i32.shl (memory.size) (i32.const 16)))
                      (i32.const 65535))
                    (i32.const 16))))
            (then unreachable))))
      (global.set $free (local.get $end))
      (local.get $at))
    ;; result<payload, failure> at 16: the case, then the payload's two pointers and lengths.
    (func (export "run") (param $type i32) (param $type_len i32) (param $body i32) (param $body_len i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (local.get $type))
      (i32.store (i32.const 24) (local.get $type_len))
      (i32.store (i32.const 28) (local.get $body))
      (i32.store (i32.const 32) (local.get $body_len))
      (i32.const 16))
    ;; The descriptor at 64: a summary and two absent schemas.
    (func (export "describe") (result i32)
      (i32.store (i32.const 64) (i32.const 1024))
      (i32.store (i32.const 68) (i32.const 23))
      (i32.const 64)))
  (core instance $guest (instantiate $code))

  (type $payload (record (field "content-type" string) (field "body" (list u8))))
  (type $failure (variant (case "invalid-input" string) (case "permanent" string) (case "transient" string)))
  (type $descriptor (record (field "summary" string) (field "input-schema" (option string)) (field "output-schema" (option string))))
  (func $describe (result $descriptor)
    (canon lift (core func $guest "describe") (memory (core memory $guest "memory"))))
  (func $run (param "input" $payload) (result (result $payload (error $failure)))
    (canon lift (core func $guest "run") (memory (core memory $guest "memory")) (realloc (core func $guest "cabi_realloc"))))

  ;; Gives the exported functions the exported types, which only a component's boundary can do.
  (component $named
    (type $payload' (record (field "content-type" string) (field "body" (list u8))))
    (type $failure' (variant (case "invalid-input" string) (case "permanent" string) (case "transient" string)))
    (type $descriptor' (record (field "summary" string) (field "input-schema" (option string)) (field "output-schema" (option string))))
    (import "payload" (type $payload (eq $payload')))
    (import "failure" (type $failure (eq $failure')))
    (import "descriptor" (type $descriptor (eq $descriptor')))
    (import "describe" (func $describe (result $descriptor)))
    (import "run" (func $run (param "input" $payload) (result (result $payload (error $failure)))))
    (export $payload_out "payload" (type $payload))
    (export $failure_out "failure" (type $failure))
    (export $descriptor_out "descriptor" (type $descriptor))
    (export "describe" (func $describe) (func (result $descriptor_out)))
    (export "run" (func $run) (func (param "input" $payload_out) (result (result $payload_out (error $failure_out))))))
  (instance $handler
    (instantiate $named
      (with "payload" (type $payload))
      (with "failure" (type $failure))
      (with "descriptor" (type $descriptor))
      (with "describe" (func $describe))
      (with "run" (func $run))))
  (export "cofferdam:task/handler@0.1.0" (instance $handler)))

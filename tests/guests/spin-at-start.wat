;; Computes for ever in its start function, so it is never instantiated.
(module
  (memory (export "memory") 1)
  (func $spin (loop (br 0)))
  (start $spin)
  (func (export "_start")))

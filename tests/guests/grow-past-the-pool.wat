;; Grows a table beyond what any table may hold, and then traps.
(module
  (memory (export "memory") 1)
  (table $table 0 funcref)
  (func (export "_start")
    (drop (table.grow $table (ref.null func) (i32.const 1000001)))
    (unreachable)))

(module
  (memory 1) (table 2 funcref) (type (func)) (func $f (type 0) (block (loop (br_if 1 (i32.const 1)))))
  (elem (i32.const 0) $f $f) (data (i32.const 0) "x") (data "passive")
  (start $f) (export "_start" (func $f)))

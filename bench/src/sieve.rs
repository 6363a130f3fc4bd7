//! A kernel that only computes, for the benchmarks that need one.

/// A WASI 0.1 command without imports that strikes out the composites below a number, forty times over.
pub(crate) fn sieve(below: u32) -> String {
    let (pages, roots) = (below.div_ceil(65_536), below.isqrt() + 1);
    format!(
        r#"(module
  (memory (export "memory") {pages})
  (func (export "_start") (local $round i32) (local $i i32) (local $j i32)
    (loop $rounds
      (memory.fill (i32.const 0) (i32.const 0) (i32.const {below}))
      (local.set $i (i32.const 2))
      (loop $next
        (if (i32.eqz (i32.load8_u (local.get $i)))
          (then
            (local.set $j (i32.mul (local.get $i) (local.get $i)))
            (loop $strike
              (i32.store8 (local.get $j) (i32.const 1))
              (local.set $j (i32.add (local.get $j) (local.get $i)))
              (br_if $strike (i32.lt_u (local.get $j) (i32.const {below}))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (i32.const {roots}))))
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (br_if $rounds (i32.lt_u (local.get $round) (i32.const 40))))))"#
    )
}

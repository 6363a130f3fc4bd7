//! The kernels: modules without imports, as text.

use crate::sieve::sieve;

/// The sentence about them in the report.
pub(super) const ABOUT: &str = "sieve: the primes below 2,000,000, forty times; matrices: the product of two of \
    256 × 256 floats, sixteen times; sha256: the compression of 4,000,000 blocks.";

/// A kernel.
pub(super) struct Kernel {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// All of them. Interpreters are not among them: the host recognises one that is uploaded, and its checks stay.
pub(super) fn all() -> [Kernel; 3] {
    [
        ("sieve", sieve(2_000_000)),
        ("matrices", MATRICES.to_owned()),
        ("sha256", sha256()),
    ]
    .map(|(name, text)| Kernel { name, text })
}

/// The second matrix is read by rows, so that the inner loop runs along memory.
const MATRICES: &str = r#"(module
  (memory (export "memory") 32)
  (func (export "_start")
    (local $round i32) (local $i i32) (local $k i32) (local $j i32) (local $a f64)
    (local $row i32) (local $other i32)
    (loop $fill
      (f64.store (i32.mul (local.get $i) (i32.const 8)) (f64.convert_i32_u (i32.and (local.get $i) (i32.const 15))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $fill (i32.lt_u (local.get $i) (i32.const 131072))))
    (loop $rounds
      (memory.fill (i32.const 1048576) (i32.const 0) (i32.const 524288))
      (local.set $i (i32.const 0))
      (loop $rows
        (local.set $k (i32.const 0))
        (loop $columns
          (local.set $a
            (f64.load (i32.shl (i32.add (i32.shl (local.get $i) (i32.const 8)) (local.get $k)) (i32.const 3))))
          (local.set $row (i32.add (i32.const 1048576) (i32.shl (local.get $i) (i32.const 11))))
          (local.set $other (i32.add (i32.const 524288) (i32.shl (local.get $k) (i32.const 11))))
          (local.set $j (i32.const 0))
          (loop $inner
            (f64.store (local.get $row)
              (f64.add (f64.load (local.get $row)) (f64.mul (local.get $a) (f64.load (local.get $other)))))
            (local.set $row (i32.add (local.get $row) (i32.const 8)))
            (local.set $other (i32.add (local.get $other) (i32.const 8)))
            (local.set $j (i32.add (local.get $j) (i32.const 1)))
            (br_if $inner (i32.lt_u (local.get $j) (i32.const 256))))
          (local.set $k (i32.add (local.get $k) (i32.const 1)))
          (br_if $columns (i32.lt_u (local.get $k) (i32.const 256))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $rows (i32.lt_u (local.get $i) (i32.const 256))))
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (br_if $rounds (i32.lt_u (local.get $round) (i32.const 16))))))"#;

/// The compression function of SHA-256 over blocks that are each the state before them. The constants are at
/// 0, the message schedule at 256, the state at 512.
#[expect(clippy::too_many_lines, reason = "it is the text of one program")]
fn sha256() -> String {
    let constants: String = CONSTANTS
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .map(|byte| format!("\\{byte:02x}"))
        .collect();
    let word = |at: &str| format!("(i32.load offset=256 (i32.shl {at} (i32.const 2)))");
    let back = |by: u32| word(&format!("(i32.sub (local.get $t) (i32.const {by}))"));
    let turned = |of: &str, by: [u32; 3]| {
        let [a, b, c] = by.map(|by| format!("(i32.rotr {of} (i32.const {by}))"));
        format!("(i32.xor (i32.xor {a} {b}) {c})")
    };
    let mixed = |of: &str, by: [u32; 2], shift: u32| {
        let [a, b] = by.map(|by| format!("(i32.rotr {of} (i32.const {by}))"));
        format!("(i32.xor (i32.xor {a} {b}) (i32.shr_u {of} (i32.const {shift})))")
    };
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let each = |form: &dyn Fn(usize, &str) -> String| -> String {
        names
            .iter()
            .enumerate()
            .map(|(at, name)| form(at, name))
            .collect()
    };
    let take = each(&|at, name| {
        format!(
            "(local.set ${name} (i32.load offset={} (i32.const 512)))\n",
            at * 4
        )
    });
    let add = each(&|at, name| {
        let at = 512 + at * 4;
        format!(
            "(i32.store (i32.const {at}) (i32.add (local.get ${name}) (i32.load (i32.const {at}))))\n"
        )
    });
    let first = each(&|at, _name| {
        let (to, from) = (at * 4, 512 + at * 4);
        format!(
            "(i32.store offset=256 (i32.const {to}) (i32.load (i32.const {from})))
             (i32.store offset=288 (i32.const {to}) (i32.load (i32.const {from})))\n"
        )
    });
    let (s0, s1) = (mixed(&back(15), [7, 18], 3), mixed(&back(2), [17, 19], 10));
    let (big0, big1) = (
        turned("(local.get $a)", [2, 13, 22]),
        turned("(local.get $e)", [6, 11, 25]),
    );
    let (far, near, now) = (back(16), back(7), word("(local.get $t)"));
    format!(
        r#"(module
  (memory (export "memory") 1)
  (data (i32.const 0) "{constants}")
  (func (export "_start")
    (local $block i32) (local $t i32) (local $one i32) (local $two i32)
    (local $a i32) (local $b i32) (local $c i32) (local $d i32)
    (local $e i32) (local $f i32) (local $g i32) (local $h i32)
    (loop $blocks
      {first}
      (local.set $t (i32.const 16))
      (loop $schedule
        (i32.store offset=256 (i32.shl (local.get $t) (i32.const 2))
          (i32.add (i32.add {far} {s0}) (i32.add {near} {s1})))
        (local.set $t (i32.add (local.get $t) (i32.const 1)))
        (br_if $schedule (i32.lt_u (local.get $t) (i32.const 64))))
      {take}
      (local.set $t (i32.const 0))
      (loop $rounds
        (local.set $one
          (i32.add
            (i32.add (i32.add (local.get $h) {big1})
              (i32.xor (local.get $g) (i32.and (local.get $e) (i32.xor (local.get $f) (local.get $g)))))
            (i32.add (i32.load (i32.shl (local.get $t) (i32.const 2))) {now})))
        (local.set $two
          (i32.add {big0}
            (i32.or (i32.and (local.get $a) (local.get $b))
              (i32.and (local.get $c) (i32.or (local.get $a) (local.get $b))))))
        (local.set $h (local.get $g)) (local.set $g (local.get $f)) (local.set $f (local.get $e))
        (local.set $e (i32.add (local.get $d) (local.get $one)))
        (local.set $d (local.get $c)) (local.set $c (local.get $b)) (local.set $b (local.get $a))
        (local.set $a (i32.add (local.get $one) (local.get $two)))
        (local.set $t (i32.add (local.get $t) (i32.const 1)))
        (br_if $rounds (i32.lt_u (local.get $t) (i32.const 64))))
      {add}
      (local.set $block (i32.add (local.get $block) (i32.const 1)))
      (br_if $blocks (i32.lt_u (local.get $block) (i32.const 4000000))))))"#
    )
}

/// The fractions of the cube roots of the first primes.
#[rustfmt::skip]
const CONSTANTS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

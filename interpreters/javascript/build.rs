//! Tells the linker how large the stack in linear memory is, and the compiler where the JavaScript
//! bundles are. `engine.rs` has the other half of the stack's arithmetic.

fn main() {
    println!("cargo:rustc-link-arg-cdylib=-zstack-size=1048576");
    for bundle in ["COFFERDAM_PRELUDE", "COFFERDAM_TYPESCRIPT"] {
        println!("cargo:rerun-if-env-changed={bundle}");
        if let Ok(path) = std::env::var(bundle) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

//! Tells the linker how large the stack in linear memory is, and the compiler where the bundled
//! prelude lies. `engine.rs` names the other half of the stack's arithmetic.

fn main() {
    println!("cargo:rustc-link-arg-cdylib=-zstack-size=1048576");
    println!("cargo:rerun-if-env-changed=COFFERDAM_PRELUDE");
    if let Ok(path) = std::env::var("COFFERDAM_PRELUDE") {
        println!("cargo:rerun-if-changed={path}");
    }
}

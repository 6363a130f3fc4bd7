#[cofferdam_guest::task(name = "resize")]
fn run(input: u32) -> u32 {
    input
}

fn main() {}

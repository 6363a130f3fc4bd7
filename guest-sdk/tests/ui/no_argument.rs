#[cofferdam_guest::task]
fn run() -> u32 {
    1
}

fn main() {}

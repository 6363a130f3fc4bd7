#[cofferdam_guest::task]
fn run(width: u32, height: u32) -> u32 {
    width * height
}

fn main() {}

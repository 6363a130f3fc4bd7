#[cofferdam_guest::task]
unsafe extern "C" fn run(input: u32) -> u32 {
    input
}

fn main() {}

#[cofferdam_guest::task]
async fn run(input: u32) -> u32 {
    input
}

fn main() {}

#[cofferdam_guest::task]
fn run(input: &str) -> usize {
    input.len()
}

fn main() {}

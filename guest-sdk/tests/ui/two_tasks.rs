#[cofferdam_guest::task]
fn first(input: u32) -> u32 {
    input
}

#[cofferdam_guest::task]
fn second(input: u32) -> u32 {
    input
}

fn main() {}

struct Resize;

#[cofferdam_guest::task]
fn run(_input: Resize) -> u32 {
    1
}

fn main() {}

#[cofferdam_guest::task]
struct Resize {
    width: u32,
}

fn main() {}

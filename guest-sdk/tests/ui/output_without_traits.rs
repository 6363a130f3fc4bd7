struct Thumbnail;

#[cofferdam_guest::task]
fn run(_input: u32) -> Thumbnail {
    Thumbnail
}

fn main() {}

use cofferdam_guest::Failure;

struct Thumbnail;

#[cofferdam_guest::task]
fn run(_input: u32) -> Result<Thumbnail, Failure> {
    Ok(Thumbnail)
}

fn main() {}

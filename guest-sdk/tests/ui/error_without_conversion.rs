struct Broken;

#[cofferdam_guest::task]
fn run(input: u32) -> Result<u32, Broken> {
    if input == 0 { Err(Broken) } else { Ok(input) }
}

fn main() {}

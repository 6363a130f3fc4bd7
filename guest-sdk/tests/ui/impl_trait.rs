#[cofferdam_guest::task]
fn run(input: impl Into<String>) -> impl ToString {
    input.into()
}

fn main() {}

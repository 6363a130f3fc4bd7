#[cofferdam_guest::task]
fn run<T: Clone>(input: Vec<T>) -> Vec<T> {
    input.clone()
}

fn main() {}

struct Resizer;

impl Resizer {
    #[cofferdam_guest::task]
    fn run(self, input: u32) -> u32 {
        input
    }
}

fn main() {}

//! Returns its input: the smallest guest, and the one that benchmarks start. It does nothing
//! before `run`: no environment, no files, no allocation of its own.

use cofferdam_guest::Payload;

/// Returns its input unchanged.
#[cofferdam_guest::task]
fn echo(input: Payload) -> Payload {
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_content_type_come_back() {
        let input = Payload::new("application/x-anything", [0, 159, 146, 150]);
        assert_eq!(
            cofferdam_guest::testing::run::<echo>(input.clone()),
            Ok(input)
        );
    }
}

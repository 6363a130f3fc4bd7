//! What the compiler tells an author whose function cannot be a task.

#[test]
fn wrong_tasks_are_refused_with_the_reason() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

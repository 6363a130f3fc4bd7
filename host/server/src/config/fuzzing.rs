//! Configurations that nobody meant: one that is taken is the same when it is shown and read again,
//! and one that is refused is told why.
//!
//! Compiled for tests and for fuzzing only; `fuzz/` says how it is used.

use super::read::{ConfigErrors, PREFIX, read};
use super::show::shown;
use super::{Config, keys};

/// What parts the text of a file from lines of the form `COFFERDAM_SECTION_KEY=VALUE`.
const ENVIRONMENT: &str = "\n# environment\n";

/// Reads a file, and an environment where there is one.
///
/// # Panics
///
/// Where what was read is not what is shown, or a refusal does not say why.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (file, environment) = text.split_once(ENVIRONMENT).unwrap_or((text, ""));
    let variables = environment.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let variables: Vec<_> = variables.collect();
    match read(Some(file), variables.clone()) {
        Ok(config) => {
            let shown = shown(&config);
            let again = match read(Some(&shown), []) {
                Ok(again) => again,
                Err(error) => panic!("what is shown cannot be read: {error}\n{shown}"),
            };
            assert_eq!(super::show::shown(&again), shown);
            taken(&config, &variables);
        }
        Err(ConfigErrors(errors)) => {
            assert!(!errors.is_empty(), "it is refused without a reason");
            assert!(errors.iter().all(|error| !error.to_string().is_empty()));
        }
    }
}

/// Whether each variable of ours that was taken is in force.
fn taken(config: &Config, variables: &[(String, String)]) {
    for key in keys::all() {
        let named = variables.iter().rfind(|(name, _)| *name == key.variable());
        let Some((name, value)) = named else { continue };
        let number = value.parse::<u64>().map(|number| number.to_string());
        if let (keys::Kind::Number { .. }, Ok(number)) = (&key.kind, number) {
            assert_eq!(key.value(config), number, "{name}");
        }
    }
    let ours = |name: &String| name.starts_with(PREFIX);
    assert!(
        variables
            .iter()
            .filter(|(name, _)| ours(name))
            .all(|(name, _)| {
                keys::all().iter().any(|key| key.variable() == *name)
                    || ["COFFERDAM_SERVER", "COFFERDAM_API_KEY"].contains(&name.as_str())
            })
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_configuration_is_shown_as_it_is_or_refused() {
        cofferdam_fuzz::short_run("config", 3_000, super::config);
    }
}

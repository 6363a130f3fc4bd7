//! `cofferdam backup`: a copy of a data directory that a host can be started over.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::app;
use crate::cli::serve::{self, ConfigSource};
use crate::cli::{Usage, output};

/// The source and the target of the copy.
#[derive(Debug, Args)]
pub(super) struct Backup {
    #[command(flatten)]
    source: ConfigSource,
    /// The new directory. To restore, start a host over it: cofferdam serve --data DIR.
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

pub(super) fn run(command: &Backup) -> anyhow::Result<ExitCode> {
    let data = serve::data_dir(&command.source)?;
    let copied = app::backup(&data, &command.to).map_err(|error| match error {
        app::BackupError::NoData(_) | app::BackupError::Exists(_) => {
            Usage(error.to_string()).into()
        }
        app::BackupError::File { .. }
        | app::BackupError::Database(_)
        | app::BackupError::Damaged(_) => anyhow::Error::from(error),
    })?;
    output::line(&format!(
        "{} files, {} bytes in {}",
        copied.files,
        copied.bytes,
        command.to.display()
    ));
    Ok(ExitCode::SUCCESS)
}

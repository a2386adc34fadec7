//! `vnetctl completions`

use std::io::{self, Write as _};

use clap_complete::Shell;

use super::definition;
use crate::exit::Exit;
use crate::reconcile::Error;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  vnetctl completions bash > /etc/bash_completion.d/vnetctl")]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<Exit, Error> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut definition(), "vnetctl", &mut text);
    let written = io::stdout().write_all(&text);
    written.map_err(|error| Error::io("write the completions", error))?;
    Ok(Exit::Ok)
}

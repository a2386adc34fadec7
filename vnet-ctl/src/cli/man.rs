//! `vnetctl man`

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap_mangen::Man;

use super::definition;
use crate::exit::Exit;
use crate::reconcile::Error;

/// Print the man page, or write one for each command
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  vnetctl man | man -l -\n  vnetctl man --out /usr/share/man/man8"
)]
pub(super) struct Args {
    /// Directory to write vnetctl.8 and vnetctl-COMMAND.8 to
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<Exit, Error> {
    let done = match &args.out {
        Some(dir) => write_all(dir),
        None => page(definition(), "vnetctl").and_then(|page| io::stdout().write_all(&page)),
    };
    done.map_err(|error| Error::io("write the man pages", error))?;
    Ok(Exit::Ok)
}

fn write_all(dir: &std::path::Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut root = definition();
    root.build();
    fs::write(dir.join("vnetctl.8"), page(root.clone(), "vnetctl")?)?;
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("vnetctl-{}", command.get_name());
        fs::write(dir.join(format!("{name}.8")), page(command.clone(), &name)?)?;
    }
    Ok(())
}

fn page(command: clap::Command, name: &str) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).title(name).section("8").render(&mut page)?;
    Ok(page)
}

//! `cargo xtask demo`: from a bare machine to a router that translates live traffic, in a private
//! lab, with every command shown. It leaves nothing behind and proves that.

mod lab;
mod snapshot;
mod story;
mod tell;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::lab::Lab;
use crate::{build, root_user, setup, shell};

/// How to show it.
#[derive(Args)]
pub(crate) struct Options {
    /// Leave the lab running, and say how to play with it
    #[arg(long)]
    keep: bool,
    /// Show this vnetctl and build nothing (how the demo starts itself again under sudo)
    #[arg(long, hide = true, value_name = "PATH")]
    vnetctl: Option<PathBuf>,
}

/// Sets up, builds and runs the demo.
///
/// # Errors
/// When a step fails, or when detaching has left something behind.
pub(crate) fn run(options: &Options) -> Result<()> {
    let vnetctl = match &options.vnetctl {
        Some(path) => path.clone(),
        None => {
            setup::run()?;
            println!("Building vnetctl with its eBPF programs (a few minutes the first time):");
            build::vnetctl()?
        }
    };
    if root_user::is_root() {
        show(&vnetctl, options.keep)
    } else {
        again_as_root(&vnetctl, options)
    }
}

/// Everything up to here was done as the user; namespaces and eBPF need root.
fn again_as_root(vnetctl: &Path, options: &Options) -> Result<()> {
    if shell::program("sudo").is_none() {
        bail!("the demo makes network namespaces and loads eBPF: run it as root, there is no sudo");
    }
    println!("Network namespaces and eBPF need root, so sudo is used from here on.");
    let mut command = Command::new("sudo");
    command.arg(env::current_exe()?).args(["demo", "--vnetctl"]).arg(vnetctl);
    command.args(options.keep.then_some("--keep"));
    shell::run(&mut command)
}

fn show(vnetctl: &Path, keep: bool) -> Result<()> {
    tell::clean_up_on_interrupt()?;
    let vnetctl = vnetctl.to_str().context("the path of vnetctl is not valid UTF-8")?;
    let mut steps = tell::Steps::default();
    steps.next("A private lab: three network namespaces, nothing of your own network is touched.");
    let mut lab = Lab::build()?;
    let ended = story::tell(&mut lab, vnetctl, &mut steps, keep);
    if keep && ended.is_ok() {
        story::how_to_play(&lab, vnetctl);
        lab.keep();
        return Ok(());
    }
    if ended.is_err() {
        story::detach_whatever_is_left(&lab, vnetctl);
    }
    lab.remove();
    ended?;
    match lab.remains() {
        none if none.is_empty() => {
            println!("\nThe lab is gone. That was vnet; `cargo xtask demo --keep` lets you play.");
            Ok(())
        }
        some => bail!("the lab left namespaces behind: {}", some.join(", ")),
    }
}

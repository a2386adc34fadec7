//! The sorter of an instance: a network namespace where the kernel puts fragments in order, and the
//! cable to it. Its near end is taken up last of all, so that a finished one can be told.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::OnceLock;

use super::error::Error;
use crate::netlink::{self, Netlink};
use crate::proc::sorter;
use crate::spec::{Instance, sorter_device};
use crate::state::Host;

/// Makes it. Whatever is left of a former one goes first.
pub(super) async fn make(
    netlink: &Netlink,
    host: &Host,
    instance: &Instance,
    (index, seconds): (u32, u32),
) -> Result<(), Error> {
    remove(netlink, host, instance).await?;
    let netns =
        sorter::make(instance).map_err(failed("make the network namespace of the sorter"))?;
    let device = sorter_device(instance);
    prepare(&netns, seconds)?;
    netlink.plug_sorter(&device, index, netns.as_fd()).await?;
    turn_back(&netns)?;
    sorter::quiet(&device);
    Ok(netlink.up(index).await?)
}

/// Removes it, as much of it as there is.
pub(super) async fn remove(
    netlink: &Netlink,
    host: &Host,
    instance: &Instance,
) -> Result<(), Error> {
    let devices = netlink.devices().await?;
    let name = sorter_device(instance);
    let ours = devices.iter().find(|(_, device)| device.name == name && device.is_sorters());
    if let Some((index, _)) = ours {
        netlink.remove_device(*index).await?;
    }
    if host.sorters.contains(instance) || sorter::path(instance).exists() {
        let removed = sorter::remove(instance);
        removed.map_err(failed("remove the network namespace of the sorter"))?;
    }
    Ok(())
}

/// Why this kernel has no sorter; nothing when it can have one. It is tried out, once, in a namespace
/// that is made for that and goes.
pub(crate) fn impossible() -> Option<String> {
    static TRIED: OnceLock<Option<String>> = OnceLock::new();
    let tried = TRIED.get_or_init(|| {
        let tried = sorter::try_out(|| {
            join_fragments().map_err(io::Error::other)?;
            sorter::settle6(1)
        });
        tried.err().map(|error| error.to_string())
    });
    tried.clone()
}

/// Before there is a device: it takes over what is set by default.
fn prepare(netns: &File, seconds: u32) -> Result<(), Error> {
    sorter::inside(netns.as_fd(), || {
        sorter::settle(seconds).map_err(failed("set up the sorter"))?;
        join_fragments()?;
        // What IPv6 is told about fragments is there when they are joined.
        sorter::settle6(seconds).map_err(failed("set up the sorter for IPv6"))
    })
}

fn join_fragments() -> Result<(), netlink::Error> {
    netlink::join_fragments(sorter::has_ipv6())
}

fn turn_back(netns: &File) -> Result<(), Error> {
    sorter::inside(netns.as_fd(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed("start what talks to the sorter"))?;
        Ok(runtime.block_on(async { Netlink::open()?.turn_back(sorter::has_ipv6()).await })?)
    })
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::io(doing.to_owned(), error)
}

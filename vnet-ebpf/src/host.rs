//! Limits for each inside host (RFC 6888 REQ-4): what it has is counted while there is a limit, and
//! what goes beyond is refused. What was there before nobody takes away.

use vnet_common::{Ipv4, account::Reason, flow::flag};

use crate::{
    kernel::{
        hosts::{Account, What},
        maps,
    },
    opening::Opening,
};

/// Counts a connection about to be made, if anybody counts.
#[inline(always)]
pub fn open(opening: &mut Opening) -> Result<(), Reason> {
    let Some(config) = maps::config() else { return Ok(()) };
    if opening.by_host() || config.host_flows | config.host_mappings == 0 {
        return Ok(());
    }
    // Where there is no room for one more host, it is not counted.
    let Some(account) = Account::open(opening.key.saddr) else { return Ok(()) };
    if !account.take(What::Flows, config.host_flows) {
        return Err(Reason::HostFlows);
    }
    opening.flags |= flag::COUNTED;
    Ok(())
}

/// Takes back what [`open`] has counted.
#[inline(always)]
pub fn close(opening: &mut Opening) {
    give_back(opening.key.saddr, What::Flows, opening.flags);
    opening.flags &= !flag::COUNTED;
}

/// Counts a mapping about to be made for a connection that is counted.
#[inline(always)]
pub fn map(opening: &Opening) -> Result<(), Reason> {
    let limit = maps::config().map_or(0, |config| config.host_mappings);
    if opening.flags & flag::COUNTED == 0 {
        return Ok(());
    }
    match Account::find(opening.key.saddr) {
        Some(account) if !account.take(What::Mappings, limit) => Err(Reason::HostPorts),
        Some(_) | None => Ok(()),
    }
}

/// Something of the host `addr` has ended, or was not made after all. `flags` say whether it was
/// counted.
#[inline(always)]
pub fn give_back(addr: Ipv4, what: What, flags: u8) {
    if flags & flag::COUNTED == 0 {
        return;
    }
    if let Some(account) = Account::find(addr) {
        account.give_back(what);
    }
}

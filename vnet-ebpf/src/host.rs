//! Limits for each inside host (RFC 6888 REQ-4): what it has is counted while there is a limit, and
//! what goes beyond is refused. What was there before nobody takes away.

use vnet_common::{Ipv4, account::Reason, event::kind, flow::flag};

use crate::{
    kernel::{
        events,
        hosts::{Account, Block, What},
        maps,
    },
    opening::Opening,
};

/// Counts a connection about to be made, if anybody counts.
#[inline(always)]
pub fn open(opening: &mut Opening) -> Result<(), Reason> {
    let Some(config) = maps::config() else { return Ok(()) };
    let counted = config.host_flows | config.host_mappings != 0 || events::of_blocks();
    if opening.by_host() || !counted {
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
/// counted. `true` when it was the last of its kind.
#[inline(always)]
pub fn give_back(addr: Ipv4, what: What, flags: u8) -> bool {
    flags & flag::COUNTED != 0 && Account::find(addr).is_some_and(|account| account.give_back(what))
}

/// A mapping was made: tells that the host uses its block, if nobody was told.
#[inline(always)]
pub fn begin(opening: &Opening) {
    let block = Block { addr: opening.addr, min: opening.ports.min, max: opening.ports.max };
    let saddr = opening.key.saddr;
    if !events::of_blocks() || opening.flags & flag::COUNTED == 0 {
        return;
    }
    if Account::find(saddr).is_some_and(|account| account.begin(block)) {
        events::tell_block(kind::BLOCK_CREATED, saddr, block);
    }
}

/// A mapping of the host `addr` has ended: it is one fewer, and with the last one the host uses its
/// block no more.
#[inline(always)]
pub fn cease(addr: Ipv4, flags: u8) {
    if !give_back(addr, What::Mappings, flags) || !events::of_blocks() {
        return;
    }
    if let Some(block) = Account::find(addr).and_then(|account| account.cease()) {
        events::tell_block(kind::BLOCK_DELETED, addr, block);
    }
}

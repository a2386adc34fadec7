//! How a command begins that changes what is there: it may, there is something, and it is its turn.

use super::error::Error;
use super::trap::Trap;
use crate::bpf::{self, Calm, Lock};
use crate::fault::Fault;
use crate::netlink::Netlink;
use crate::proc::privilege;

/// The turn of a command. Who only says what it would do waits until nobody changes anything, and
/// whoever changes something keeps all others waiting, until this is dropped.
pub(super) struct Turn {
    /// What it sees links and addresses by.
    pub(super) netlink: Netlink,
    /// Whether it only says what it would do.
    pub(super) dry_run: bool,
    _lock: Option<Lock>,
    _calm: Option<Calm>,
}

impl Turn {
    /// # Errors
    /// `Permission`; `Nothing` where no instance can be.
    pub(super) fn take(dry_run: bool) -> Result<Self, Error> {
        privilege::demand()?;
        bpf::reach()?;
        if !bpf::is_mounted() {
            return Err(Fault::Nothing.into());
        }
        let netlink = Netlink::open()?;
        let dry_run = dry_run || Trap::lists();
        let lock = if dry_run { None } else { Some(Lock::take()?) };
        let calm = if dry_run { Some(Calm::wait()?) } else { None };
        Ok(Self { netlink, dry_run, _lock: lock, _calm: calm })
    }
}

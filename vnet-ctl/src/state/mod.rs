//! What is wanted and what is found, in one shape, so that they can be compared. Knows no kernel:
//! the facts come in as plain records.

mod block;
mod change;
mod check;
mod forward;
mod host;
mod inside;
mod instance;
mod life;
mod nat66;
mod outside;
mod prefix6;
mod socket;
mod sorter;
mod wanted;
mod way;
mod xdp;

pub use block::{Place, Places};
pub use change::{Change, changes, kept_off, refresh};
pub use check::{check, elsewhere, foreign};
pub use forward::{
    Entries, Forwarding, Holder, PoolPorts, RULES_MAX, Span, Table, Target, Words, clashes, kept,
    places, ranges, resolved, spans, unled, without,
};
pub use host::{
    Device, DeviceXdp, Driver, Filter, Host, IP_FORWARD, IPV6_FORWARD, LIBERAL, Tc, TcxProgram,
    XdpProgram, conf_device,
};
pub use inside::{hooked, left_out, links_wanted, touched};
pub use instance::{Found, Instance, Layout, Running, read_name, write_name};
pub use life::Life;
pub use prefix6::{ipv6_notes, pairs};
pub use socket::Socket;
pub use sorter::{has_sorter, hooks, sorter, unsorted};
pub use wanted::{FILTER_HANDLE, FILTER_PRIORITY, calls, kept_off_anyway, takes_shortcuts, wanted};
pub use way::Way;
pub use xdp::{untried, xdp_faults, xdp_notes};

#[cfg(test)]
mod tests;

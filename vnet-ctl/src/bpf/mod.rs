//! Everything about eBPF: the object, its maps, programs and hooks. The only place that names aya.

mod calls;
mod error;
mod events;
mod forwards;
mod found;
mod hooks;
mod load;
mod lock;
mod log;
mod maps;
mod mount;
mod object;
mod peers;
mod pins;
mod probe;
mod tables;
mod xdp;

pub use calls::{attach_calls, detach_calls, why_no_calls};
pub use error::Error;
pub use events::Events;
pub use forwards::Orders;
pub use found::{Pinned, read};
pub use hooks::{Former, attach, detach, has_tcx, replace, tcx_programs};
pub use load::{Loaded, Sizes};
pub use lock::{Calm, Lock};
pub use log::{Line, Log};
pub use maps::Maps;
pub use mount::{is_mounted, mount, reach, unmount};
pub use object::OBJECT;
pub use pins::{HOME, Pins, ROOT, instances};
pub use probe::{Feature, features};
pub use tables::{Addresses, Connection, Hops, MappingRow, Tables};
pub use xdp::why_no_xdp;

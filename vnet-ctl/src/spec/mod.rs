//! What was typed, become typed: words in, meaning or every fault out. Knows no kernel.

mod attach;
mod call;
mod file;
mod forward;
mod name;
mod nat66;
mod prefix6;
mod read;
mod word;
mod words;
mod xdp;

pub use attach::{Attach, Inside};
pub use call::Call;
pub use file::Spec;
pub use forward::{ForwardWish, ForwardWords, Proto, Which, forward_name};
pub use name::{Hook, Instance, device_name, link_pin, read_link_pin, sorter_device};
pub use nat66::Nat66;
pub use prefix6::PrefixPair;
pub use word::{Filtering, Level, Ports, address, any_prefix, number, prefix};
pub use words::Words;
pub use xdp::Xdp;

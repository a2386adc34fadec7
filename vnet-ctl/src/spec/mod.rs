//! What was typed, become typed: words in, meaning or every fault out. Knows no kernel.

mod attach;
mod forward;
mod name;
mod prefix6;
mod word;

pub use attach::{Attach, Inside, Words};
pub use forward::{ForwardWish, ForwardWords, Proto, Which, forward_name};
pub use name::{Hook, Instance, device_name, link_pin, read_link_pin, sorter_device};
pub use prefix6::PrefixPair;
pub use word::{Filtering, Level, Ports, address, number, prefix};

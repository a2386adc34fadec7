//! Carrying a wish out: observe, check, plan, apply step by step, observe again.

mod apply;
mod attach;
mod detach;
mod error;
mod forward;
mod observe;
mod ports;
mod sorter;
mod together;
mod trap;
mod turn;

pub use apply::Report;
pub use detach::{Target, detach};
pub use error::Error;
pub use forward::{add_forward, delete_forward};
pub use observe::{Scope, Seen, observe};
pub(crate) use sorter::impossible;
pub use together::{attach, attach_all};

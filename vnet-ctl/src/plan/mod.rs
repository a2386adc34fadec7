//! From found to wanted: the steps, each with its undo, computed without touching anything.
//!
//! Order is data: tables are filled before anything is attached, what is remembered is written
//! before it is changed, and removal is the reverse. After all steps of a plan a second plan is
//! empty, and a process that dies between two steps leaves what the next plan repairs.

mod build;
mod forward;
mod remove;
mod simulate;
mod step;

pub use build::build;
pub use forward::forward;
pub use remove::remove;
pub use simulate::World;
pub use step::{Entry, Grip, Plan, Planned, Step};

#[cfg(test)]
mod tests;

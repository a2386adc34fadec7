//! The control plane of vnet: everything behind the command `vnetctl`.
//!
//! A command goes one way: words ([`spec`]) and facts ([`netlink`], [`bpf`]) become a wanted
//! state ([`state`]), the difference to what is there becomes a plan ([`plan`]), and
//! [`reconcile`] carries it out step by step, each with its undo. Nothing stays behind but
//! pinned maps, programs and links: there is no daemon.
//!
//! Only [`bpf`] names aya, only [`netlink`] names rtnetlink; the two never meet.

pub mod bpf;
pub mod cli;
pub mod doctor;
pub mod exit;
pub mod fault;
pub mod netlink;
pub mod plan;
pub mod proc;
pub mod reconcile;
pub mod spec;
pub mod state;
pub mod view;

//! The same core, compiled for the kernel and for the host, does the same to the same frames.
//!
//! Frames of every kind, good and broken, are run through the real programs, and given to the core's
//! host build (`packet::parse`, `quote::read`, `rewrite::apply`, `tcp::step`, `port::Pool`). Both must
//! say the same of a frame, leave the same bytes of it, and follow the same TCP states.
//!
//! Frames come from the fuzzer's corpus and from a generator whose seed a failure names.
//! `VNET_AGREEMENT_FRAMES=1000000` runs longer than the few thousand of every day, and
//! `VNET_AGREEMENT_SEED=7` elsewhere.

mod corpus;
mod follow;
mod generate;
mod host;
mod pair;
mod ports;
mod random;
mod talk;
mod target;

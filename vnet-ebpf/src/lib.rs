//! The datapath.

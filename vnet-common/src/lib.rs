//! Records shared by the eBPF programs and the control plane.
#![no_std]

//! What is judged, and how, is in `fuzz/judge/src/tcp.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vnet_judge::tcp(input));

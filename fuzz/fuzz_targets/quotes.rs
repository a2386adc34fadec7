//! What is judged, and how, is in `fuzz/judge/src/quotes.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vnet_judge::quotes(input));

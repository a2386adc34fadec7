//! What the fuzzer was given and has found, in the kernel.

use std::fs;
use std::path::Path;

use vnet_common::flow::Flow;
use vnet_common::tcp::State;
use vnet_judge::{JUDGES, frame_of};

use crate::generate::least;
use crate::target::{pair, to_target};

#[test]
fn the_fuzzers_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut pair = pair();
    let mut tried = 0;
    for (judge, _) in JUDGES {
        for file in fs::read_dir(corpus.join(judge)).expect("every judge has a corpus") {
            let path = file.expect("a directory entry").path();
            let input = fs::read(&path).expect("a file of the corpus");
            // The kernel tries no program on a frame shorter than its headers.
            let frame = frame_of(judge, &input).filter(|frame| frame.len() >= least(frame));
            let Some(frame) = frame else { continue };
            println!("{}", path.display());
            to_target(&mut pair, frame, &wish(&input[..input.len() - frame.len()]));
            tried += 1;
        }
    }
    assert!(tried > 100, "only {tried} frames are kept");
}

/// A flow that writes what stands before the frame, as its judge reads it.
fn wish(wish: &[u8]) -> Flow {
    let mut bytes = [198, 51, 100, 1, 203, 0, 113, 5, 0x9c, 0x40, 0, 53];
    let length = wish.len().min(bytes.len());
    bytes[..length].copy_from_slice(&wish[..length]);
    let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    Flow {
        saddr: [bytes[0], bytes[1], bytes[2], bytes[3]],
        daddr: [bytes[4], bytes[5], bytes[6], bytes[7]],
        sport: half(8),
        dport: half(10),
        state: State::Established as u8,
        ..Flow::default()
    }
}

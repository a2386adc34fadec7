//! What the verifier walks of the programs that see every packet: what loading costs, and a measure of
//! their size.

use anyhow::{Context as _, Result};
use vnet_common::event::telling;
use vnet_ctl::bpf::{Loaded, Sizes};

use super::series::Sample;

/// Takes one sample; it is the same each time.
pub(super) fn sample() -> Result<Vec<Sample>> {
    let sizes = Sizes { max_flows: 1024, addresses: 4, log_level: 0, telling: telling::NOTHING };
    let mut loaded = Loaded::load(sizes, None)?;
    let walked = |name: &str, loaded: &mut Loaded| {
        let walked = loaded.program(name)?.info()?.verified_instruction_count();
        let walked = walked.context("this kernel does not tell what the verifier walked")?;
        let title = format!("Verified instructions of {name}");
        let count = f64::from(walked);
        Ok(Sample::less(&format!("verified-{name}"), &title, "instructions", count))
    };
    loaded.load_programs()?;
    ["vnet_in", "vnet_out"].into_iter().map(|name| walked(name, &mut loaded)).collect()
}

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
        sample_of(name, loaded.program(name)?.info()?.verified_instruction_count())
    };
    loaded.load_programs()?;
    let classifiers = ["vnet_in", "vnet_out"].into_iter();
    let mut samples: Vec<_> =
        classifiers.map(|name| walked(name, &mut loaded)).collect::<Result<_>>()?;
    samples.push(sample_of("vnet_xdp", loaded.xdp()?.info()?.verified_instruction_count())?);
    Ok(samples)
}

fn sample_of(name: &str, walked: Option<u32>) -> Result<Sample> {
    let walked = walked.context("this kernel does not tell what the verifier walked")?;
    let title = format!("Verified instructions of {name}");
    Ok(Sample::less(&format!("verified-{name}"), &title, "instructions", f64::from(walked)))
}

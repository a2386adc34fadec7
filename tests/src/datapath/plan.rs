//! How a datapath shall be, before it is loaded.

use std::cell::RefCell;

use vnet_common::policy::{Config, config_flag};
use vnet_ctl::bpf::{Loaded, Sizes};

use super::{Datapath, KEPT, OUTSIDE};
use crate::link::{self, Cable};
use crate::netns::Netns;

/// How a datapath shall be; [`Datapath::new`] is the usual one.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is loaded before `build`"]
pub struct Plan {
    pub(super) config: Config,
    pub(super) sorter: bool,
}

impl Plan {
    /// Only these outside ports are handed out.
    pub fn ports(mut self, min: u16, max: u16) -> Self {
        (self.config.port_min, self.config.port_max) = (min, max);
        // As `attach` does: whoever names ports means all of them.
        (self.config.low_min, self.config.low_max) = (0, 0);
        self
    }

    /// Who may send to a mapping: one of [`vnet_common::policy::filtering`].
    pub fn filtering(mut self, mode: u32) -> Self {
        self.config.filtering = mode;
        self
    }

    /// So many mappings and connections for each inside host; 0 = no limit.
    pub fn limits(mut self, mappings: u32, flows: u32) -> Self {
        (self.config.host_mappings, self.config.host_flows) = (mappings, flows);
        self
    }

    /// Blocks of so many ports for each inside host.
    pub fn blocks(mut self, size: u32) -> Self {
        self.config.port_block = size;
        self
    }

    /// Fragments that come before their first are sent to `in0`, which nobody sorts at.
    pub fn sorter(mut self) -> Self {
        self.sorter = true;
        self
    }

    /// Room for so many connections.
    pub fn max_flows(mut self, max_flows: u32) -> Self {
        self.config.max_flows = max_flows;
        self
    }

    /// Refusals are answered by ICMP, as they are by default outside tests: otherwise a refused packet
    /// just ends.
    pub fn answering(mut self) -> Self {
        self.config.flags |= config_flag::ANSWER;
        self
    }

    /// Mappings that begin and end are told of.
    pub fn events(mut self) -> Self {
        self.config.flags |= config_flag::EVENTS;
        self
    }

    /// Loads it.
    ///
    /// # Panics
    /// When the kernel refuses the object, in the verifier's words.
    pub fn build(self) -> Datapath {
        let netns = Netns::new("datapath");
        let (inside, _) = Cable::new((&netns, "in0"), (&netns, "in0-peer")).plug();
        let (uplink, _) = Cable::new((&netns, "up0"), (&netns, "up0-peer")).plug();
        link::address(&netns, "in0", "10.0.0.1/24");
        link::address(&netns, "up0", &format!("{OUTSIDE}/24"));
        link::address(&netns, "up0", &format!("{KEPT}/24"));
        let sizes = Sizes::from(&self.config);
        let loaded = Loaded::load(sizes, None).and_then(|mut loaded| {
            loaded.load_programs()?;
            Ok(loaded)
        });
        let loaded = RefCell::new(loaded.unwrap_or_else(|e| panic!("{e}")));
        let mut datapath = Datapath { netns, inside, uplink, loaded };
        let sorter = if self.sorter { datapath.inside.index } else { 0 };
        datapath.fill(&Config { sorter, ..self.config });
        datapath
    }
}

//! The maps of a datapath, as a test reads and changes them.

use aya::Pod;
use aya::maps::{Array, HashMap, MapData};
use vnet_common::flow::{Flow, FlowKey};
use vnet_common::tcp::State;
use vnet_common::translate::{Endpoint, Mapping, Owner, owner_index, pool};

use super::Datapath;

impl Datapath {
    /// The flow entry of packets with this tuple.
    pub fn flow(&mut self, key: &FlowKey) -> Option<Flow> {
        self.hash("flows4").get(key, 0).ok()
    }

    /// The state of the connection that packets with this tuple belong to, the same in both of its
    /// entries.
    ///
    /// # Panics
    /// When there is no such connection, or half of one, or its halves differ.
    #[track_caller]
    pub fn state(&mut self, key: &FlowKey) -> State {
        let flow = self.flow(key).expect("the flow exists");
        let twin = self.flow(&flow.twin(key.proto)).expect("a flow has a twin");
        assert_eq!(flow.state, twin.state, "both entries say the same");
        State::from_number(flow.state).expect("a state that is known")
    }

    /// How many flow entries there are: two for each connection.
    pub fn flows(&mut self) -> usize {
        self.hash::<FlowKey, Flow>("flows4").keys().count()
    }

    /// The mapping of an inside endpoint.
    pub fn mapping(&mut self, endpoint: &Endpoint) -> Option<Mapping> {
        self.hash("mappings").get(endpoint, 0).ok()
    }

    /// Who holds an outside port.
    ///
    /// # Panics
    /// When the protocol is not translated.
    pub fn owner(&mut self, proto: u8, port: u16) -> Owner {
        let number = pool::number(0, proto).expect("a protocol with ports");
        let owner = self.array("owners").get(&owner_index(number, port), 0);
        owner.expect("an entry for every port")
    }

    /// A hash map of the object, to read or to write what a control plane would.
    ///
    /// # Panics
    /// When there is none of that name with such keys and values.
    pub fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        let map = self.loaded.get_mut().ebpf().map_mut(name);
        let map = map.unwrap_or_else(|| panic!("the object has no map {name}"));
        HashMap::try_from(map).unwrap_or_else(|e| panic!("the map {name} is not as expected: {e}"))
    }

    /// An array of the object, to read or to write what a control plane would.
    ///
    /// # Panics
    /// When there is none of that name with such values.
    pub fn array<V: Pod>(&mut self, name: &str) -> Array<&mut MapData, V> {
        let map = self.loaded.get_mut().ebpf().map_mut(name);
        let map = map.unwrap_or_else(|| panic!("the object has no map {name}"));
        Array::try_from(map).unwrap_or_else(|e| panic!("the map {name} is not as expected: {e}"))
    }
}

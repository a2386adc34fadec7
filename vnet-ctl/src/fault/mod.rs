//! What can be wrong with a wish, one sentence each: what is wrong, and what to do about it.
//!
//! A command collects every fault it can find before it touches anything, and reports them all.

mod exit;
mod forward;

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

pub use forward::ForwardFault;

/// A reason why a wish is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// `--instance` is no name.
    #[error("instance name '{0}' is not usable: take 1 to 32 of a-z, 0-9, '_' and '-'")]
    InstanceName(String),
    /// A device's name cannot be one.
    #[error("'{0}' cannot be the name of a network device: 1 to 15 bytes without '/' or blanks")]
    DeviceName(String),
    /// `--ports` makes no sense.
    #[error(
        "--ports {0}: give a range such as 1024-65535, first port at least 1 and not above the last"
    )]
    Ports(String),
    /// `--low-ports` makes no sense.
    #[error("--low-ports {0}: give a range of ports below 1024, such as 512-1023, or none")]
    LowPorts(String),
    /// `--filtering` is no mode.
    #[error(
        "--filtering {0}: take endpoint-independent, address-dependent or address-and-port-dependent"
    )]
    Filtering(String),
    /// Port blocks without addresses to compute them from.
    #[error(
        "--port-block: blocks are computed from inside addresses; name all of them as prefixes (--inside 10.0.0.0/24), and no devices"
    )]
    BlocksOfWhom,
    /// Port blocks, and low ports for everybody.
    #[error("--port-block: leave --low-ports out, as nobody could tell whose a low port was")]
    BlocksAndLowPorts,
    /// More inside hosts than blocks.
    #[error(
        "--port-block {size}: {hosts} addresses are inside, and the ports {ports} of {addresses} outside address(es) of '{device}' have room for {fit} blocks: take smaller blocks, smaller prefixes, or more addresses (--address)"
    )]
    Blocks {
        /// Ports of a block.
        size: u32,
        /// How many addresses are inside.
        hosts: u64,
        /// The ports that are divided.
        ports: String,
        /// How many outside addresses the uplink has.
        addresses: u32,
        /// The uplink.
        device: String,
        /// How many blocks there are.
        fit: u64,
    },
    /// The instance has no port blocks.
    #[error("instance '{0}' has no port blocks: attach it with --port-block N")]
    NoBlocks(String),
    /// An address or port that no block belongs to.
    #[error("no block: {0}")]
    NoBlock(String),
    /// `--address` makes no sense.
    #[error("--address {0}: give one IPv4 address of the device, such as 203.0.113.7")]
    AddressWord(String),
    /// `--inside` is neither prefix nor device.
    #[error("--inside {0}: give an IPv4 prefix such as 10.0.0.0/8, or the name of a device")]
    Inside(String),
    /// A prefix has bits beyond its length.
    #[error("{option} {given}: host bits are set; say {meant}")]
    HostBits {
        /// The option.
        option: &'static str,
        /// What was typed.
        given: String,
        /// What it would have to be.
        meant: String,
    },
    /// `--inside` names the uplink.
    #[error("--inside {0}: that is the uplink itself; name the devices behind it")]
    InsideIsUplink(String),
    /// A number is no number or out of its range.
    #[error("{option} {given}: give a number from {min} to {max}")]
    Number {
        /// The option.
        option: &'static str,
        /// What was typed.
        given: String,
        /// Least value.
        min: u32,
        /// Greatest value.
        max: u32,
    },
    /// `--fragments` is no way.
    #[error(
        "--fragments {0}: take sort (put those in order that come before their first) or ordered (only those are translated that follow it)"
    )]
    Fragments(String),
    /// `--refresh` is no way.
    #[error("--refresh {0}: take both, or outbound (only what leaves keeps a UDP mapping alive)")]
    Refresh(String),
    /// `--log-level` is no level.
    #[error("--log-level {0}: take off, error, warn, info, debug or trace")]
    LogLevel(String),
    /// More `--address` than numbers.
    #[error("--address: an instance has at most {most} outside addresses; make several instances")]
    TooManyAddresses {
        /// How many it can have.
        most: u32,
    },
    /// A filter or other word makes no sense.
    #[error("{option} {given}: {hint}")]
    Word {
        /// The option.
        option: &'static str,
        /// What was typed.
        given: String,
        /// What would be right.
        hint: &'static str,
    },
    /// Something is wrong in a file.
    #[error("{file}:{line}: {key}{what}")]
    File {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// The key's path and a colon, where it is about one.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// Capabilities are missing.
    #[error("not allowed: this needs {missing}; run it as root (sudo vnetctl …)")]
    Permission {
        /// Names of what is missing.
        missing: String,
    },
    /// The device is not there.
    #[error("no device '{name}' in this network namespace; there are: {present}")]
    NoDevice {
        /// The name.
        name: String,
        /// The names that are there.
        present: String,
    },
    /// The device's link layer is not known.
    #[error(
        "device '{0}' is neither Ethernet nor a plain IP tunnel: vnet cannot find the IP header on it"
    )]
    LinkLayer(String),
    /// The device cannot have an XDP program of that mode.
    #[error(
        "device '{device}' cannot have an XDP program (--xdp {mode}): {why}; --xdp auto takes the devices that can, and --xdp off needs none"
    )]
    Xdp {
        /// The device.
        device: String,
        /// The mode that was asked for.
        mode: &'static str,
        /// Why.
        why: String,
    },
    /// The device has no usable address.
    #[error(
        "device '{0}' has no global IPv4 address; add one (ip address add … dev {0}) and attach again"
    )]
    NoAddress(String),
    /// The wanted outside address is not there.
    #[error("address {address} is not on device '{device}', which has: {present}")]
    AddressNotThere {
        /// The address.
        address: Ipv4Addr,
        /// The device, or all of them.
        device: String,
        /// The addresses that are there.
        present: String,
    },
    /// `--address6` says by which address, and nothing says that it is to be done.
    #[error("--address6 is for --nat66: give both, or neither")]
    Address6Alone,
    /// One for each uplink.
    #[error("more --address6 than --nat: IPv6 leaves an uplink by one address")]
    ManyAddresses6,
    /// The wanted outside IPv6 address is not there.
    #[error("IPv6 address {address} is not on an uplink; these are: {present}")]
    Address6NotThere {
        /// The address.
        address: Ipv6Addr,
        /// The addresses that are there.
        present: String,
    },
    /// No global IPv6 address.
    #[error(
        "device '{0}' has no global IPv6 address; add one (ip address add … dev {0}), or leave --nat66 out"
    )]
    NoAddress6(String),
    /// Somebody else's program.
    #[error(
        "device '{device}' already has {what}; vnet never touches what is not its own: remove it or take another device"
    )]
    Foreign {
        /// The device.
        device: String,
        /// Kind and name of what is there.
        what: String,
    },
    /// The device belongs to another instance.
    #[error(
        "device '{device}' is already managed by instance '{instance}': detach it there first (vnetctl detach {device} --instance {instance})"
    )]
    OtherInstance {
        /// The device.
        device: String,
        /// The instance that has it.
        instance: String,
    },
    /// The instance has other uplinks.
    #[error(
        "instance '{instance}' already translates on '{uplink}': to give it more uplinks, name all of them (--nat {uplink} --nat …); else use --instance with another name, or detach {uplink} first"
    )]
    SecondUplink {
        /// The instance.
        instance: String,
        /// Its uplink.
        uplink: String,
    },
    /// Another instance hands out the same ports of the same address.
    #[error(
        "instance '{instance}' already hands out ports {ports} of {address}: choose --ports (and --low-ports) that do not overlap"
    )]
    Overlap {
        /// The instance.
        instance: String,
        /// Its ports.
        ports: String,
        /// The address.
        address: Ipv4Addr,
    },
    /// The instance lives elsewhere.
    #[error(
        "instance '{0}' is in use in another network namespace: run vnetctl there (nsenter --net=/run/netns/NAME vnetctl …), or use --instance with another name"
    )]
    OtherNamespace(String),
    /// The instance lives elsewhere, or nowhere.
    #[error(
        "instance '{0}' was made in another network namespace, which cannot be seen from here: run vnetctl there (nsenter --net=/run/netns/NAME vnetctl …); if that namespace is gone for good, remove what is left (vnetctl detach --all --instance {0} --force)"
    )]
    UnseenNamespace(String),
    /// The size of running maps cannot change.
    #[error(
        "instance '{instance}' was made for {found} flows, and the size of running maps cannot change: detach it first, then attach with --max-flows {wanted}"
    )]
    MaxFlows {
        /// The instance.
        instance: String,
        /// What it has.
        found: u32,
        /// What was wished.
        wanted: u32,
    },
    /// There is no room for so many outside addresses.
    #[error(
        "instance '{instance}' was made for {room} outside addresses, and there is no room for {wanted}: detach it first, then attach with all of them"
    )]
    Room {
        /// The instance.
        instance: String,
        /// What it has room for.
        room: u32,
        /// What was wished.
        wanted: usize,
    },
    /// The maps are of another version.
    #[error(
        "instance '{instance}' was made by another version of vnet ({found}; this one makes {ours}): use that one, or a newer one; or detach it (vnetctl detach --all --instance {instance}) and attach again, which ends its connections"
    )]
    Version {
        /// The instance.
        instance: String,
        /// What was found.
        found: String,
        /// What this binary makes.
        ours: String,
    },
    /// The kernel lacks something.
    #[error(
        "this kernel lacks {feature}, which Linux {since} brought; vnet needs Linux 6.1 or newer, and `vnetctl doctor` shows everything that is missing"
    )]
    Unsupported {
        /// What is missing.
        feature: String,
        /// The first Linux that has it.
        since: String,
    },
    /// There is no such instance.
    #[error("there is no instance '{0}'; `vnetctl status` lists what is attached")]
    NoInstance(String),
    /// The device is not the instance's.
    #[error(
        "nothing is attached to '{device}' in instance '{instance}'; `vnetctl status` lists what is attached"
    )]
    NotAttached {
        /// The device.
        device: String,
        /// The instance.
        instance: String,
    },
    /// The device is no instance's uplink.
    #[error("nothing is attached to '{0}'; `vnetctl status` lists what is attached")]
    NothingOn(String),
    /// The instance is there, but its tables cannot be trusted.
    #[error("instance '{0}' is half made or of another version; `vnetctl status` says what to do")]
    Unfit(String),
    /// The datapath's log is off.
    #[error(
        "the log of instance '{0}' is off: attach again with your other options and --log-level debug (every decision) or warn (only what is dropped)"
    )]
    LogOff(String),
    /// Nobody tells of mappings.
    #[error(
        "instance '{0}' does not tell of mappings: attach again with your other options and --events"
    )]
    EventsOff(String),
    /// `--syslog` is neither path nor address.
    #[error("--syslog {0}: give the path of a socket such as /dev/log, or an IP address")]
    Syslog(String),
    /// Nothing is attached in this namespace.
    #[error("nothing is attached in this network namespace; `vnetctl status` lists all instances")]
    Nothing,
    /// Something about a forward.
    #[error(transparent)]
    Forward(#[from] ForwardFault),
    /// Neither a device nor `--all`.
    #[error("name the uplink to detach, or say --all")]
    DetachWhat,
}

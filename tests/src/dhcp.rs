//! A real DHCP server and a real client: dnsmasq and busybox's udhcpc.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

use crate::instance;
use crate::netns::Netns;
use crate::vnetctl::{Running, start};

/// What udhcpc runs at each event: the usual script, as busybox brings it (simple.script).
const SCRIPT: &str = "#!/bin/sh
case $1 in
deconfig)
    ip -4 address flush dev $interface
    ;;
bound|renew)
    ip -4 address show dev $interface | grep -q \"inet $ip/\" ||
        { ip -4 address flush dev $interface && ip address add $ip/$mask dev $interface; }
    for way in $router; do ip route replace default via $way dev $interface; done
    ;;
esac
";

/// A folder of a test's own, which goes with this value.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(instance::unique());
        fs::create_dir_all(&folder).expect("a folder can be made");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // In a temporary folder: nobody minds what stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that gives everybody who asks one address.
#[derive(Debug)]
pub struct Server {
    _process: Running,
    _folder: Folder,
}

impl Server {
    /// Starts one on a device. Whoever has another address than `offer` is told to give it back.
    ///
    /// # Panics
    /// When dnsmasq cannot be started.
    pub fn start(netns: &Netns, device: &str, offer: Ipv4Addr, gateway: Ipv4Addr) -> Self {
        let folder = Folder::new();
        let leases = format!("--dhcp-leasefile={}", folder.0.join("leases").display());
        let range = format!("--dhcp-range={offer},{offer},255.255.255.0,2m");
        let router = format!("--dhcp-option=3,{gateway}");
        let device = format!("--interface={device}");
        let quiet = "--keep-in-foreground --conf-file=/dev/null --port=0 --no-ping --user=root \
                     --pid-file= --log-facility=- --dhcp-authoritative --bind-dynamic";
        let words = [&leases, &range, &router, &device];
        let words: Vec<_> =
            quiet.split_whitespace().chain(words.into_iter().map(String::as_str)).collect();
        let process = start(netns.command("dnsmasq", &words));
        Self { _process: process, _folder: folder }
    }
}

/// A client that keeps a device's address as the server says.
#[derive(Debug)]
pub struct Client {
    process: Running,
    _folder: Folder,
}

impl Client {
    /// Starts one, which asks again and again until it is answered.
    ///
    /// # Panics
    /// When busybox cannot be started.
    pub fn start(netns: &Netns, device: &str) -> Self {
        let folder = Folder::new();
        let script = folder.0.join("script");
        fs::write(&script, SCRIPT).expect("a file can be written");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&script, mode).expect("a file of ours can be made a program");
        let script = script.to_string_lossy().into_owned();
        let words =
            ["udhcpc", "-f", "-i", device, "-s", &script, "-t", "100", "-T", "1", "-A", "1"];
        Self { process: start(netns.command("busybox", &words)), _folder: folder }
    }

    /// Has it ask whether it may keep its address, as it does by itself after half of the lease.
    ///
    /// # Panics
    /// When it is gone.
    pub fn renew(&self) {
        let pid = Pid::from_child(&self.process.child);
        kill_process(pid, Signal::USR1).expect("a child of ours can be signalled");
    }
}

//! A private lab: client, router and server, each a network namespace of its own, with a cable
//! from the client to the router and one from the router to the server. Nothing of it touches the
//! machine's own network, and it goes away with this value, even when the demo fails.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::tell;
use crate::shell;

/// The client, behind the router.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);
/// The router, as the client sees it.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 1);
/// The router, as the world sees it.
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// A server in the world, which knows no way to the client.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(5);

/// One of the three machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind the router.
    Client,
    /// Where vnet works.
    Router,
    /// Beyond the uplink.
    Server,
}

impl Place {
    const ALL: [Self; 3] = [Self::Client, Self::Router, Self::Server];

    /// Its name in what the demo prints.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Router => "router",
            Self::Server => "server",
        }
    }
}

/// The lab, its servers and its scratch directory.
pub(crate) struct Lab {
    /// Every name carries it, so that two demos do not meet.
    name: String,
    /// Logs, and the page the web server serves.
    dir: PathBuf,
    servers: Vec<Child>,
    kept: bool,
}

impl Lab {
    /// Builds namespaces, cables, addresses and the client's one route.
    pub(crate) fn build() -> Result<Self> {
        let name = format!("demo-{}", process::id());
        let dir = env::temp_dir().join(format!("vnet-{name}"));
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let lab = Self { name, dir, servers: Vec::new(), kept: false };
        for place in Place::ALL {
            lab.ip(&["netns", "add", &lab.namespace(place)])?;
            lab.ip(&["-n", &lab.namespace(place), "link", "set", "lo", "up"])?;
        }
        lab.cable("lan", GATEWAY, Place::Client, CLIENT)?;
        lab.cable("uplink", OUTSIDE, Place::Server, SERVER)?;
        let client = lab.namespace(Place::Client);
        lab.ip(&["-n", &client, "route", "add", "default", "via", &GATEWAY.to_string()])?;
        // A new namespace copies this from the machine; a fresh router does not forward.
        lab.quietly(Place::Router, &["sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"])?;
        Ok(lab)
    }

    /// A cable from the router's `device` to the `eth0` of another place.
    fn cable(&self, device: &str, router: Ipv4Addr, far: Place, address: Ipv4Addr) -> Result<()> {
        let (here, there) = (self.namespace(Place::Router), self.namespace(far));
        let pair = ["type", "veth", "peer", "name", "eth0", "netns", &there];
        self.ip(&[&["link", "add", device, "netns", &here][..], &pair[..]].concat())?;
        for (namespace, device, address) in [(&here, device, router), (&there, "eth0", address)] {
            self.ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", device])?;
            self.ip(&["-n", namespace, "link", "set", device, "up"])?;
        }
        Ok(())
    }

    fn ip(&self, words: &[&str]) -> Result<()> {
        tell::command("host", &[&["ip"], words].concat());
        shell::output(Command::new("ip").args(words)).map(|_| ())
    }

    /// The instance of vnet that the demo attaches.
    pub(crate) fn instance(&self) -> &str {
        &self.name
    }

    /// Where logs and pages are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The network namespace of a place.
    pub(crate) fn namespace(&self, place: Place) -> String {
        format!("vnet-{}-{}", self.name, place.name())
    }

    /// A command in a place. Only the network namespace is entered: `ip netns exec` would also
    /// mount a fresh /sys, and hide what is pinned below the machine's own.
    pub(crate) fn at(&self, place: Place, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace(place)));
        command.args(words);
        command
    }

    /// Runs a command in a place without a word about it, and returns what it printed.
    pub(crate) fn quietly(&self, place: Place, words: &[&str]) -> Result<String> {
        shell::output(&mut self.at(place, words))
    }

    /// Starts a server beyond the uplink and waits until it listens. Its output goes to a log.
    pub(crate) fn serve(&mut self, log: &str, port: u16, words: &[&str]) -> Result<()> {
        tell::command(Place::Server.name(), &[words, &["&"]].concat());
        let file = fs::File::create(self.dir.join(log))?;
        let mut command = self.at(Place::Server, words);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let server = command.spawn().with_context(|| format!("{} did not start", words[0]))?;
        let sockets = format!("/proc/{}/net/tcp", server.id());
        self.servers.push(server);
        let (since, listens) = (Instant::now(), format!(":{port:04X} 00000000:0000 0A"));
        while !fs::read_to_string(&sockets).is_ok_and(|table| table.contains(&listens)) {
            if since.elapsed() > PATIENCE {
                bail!("{} does not listen on port {port}: {}", words[0], self.log(log)?);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What a server has logged.
    pub(crate) fn log(&self, name: &str) -> Result<String> {
        let path = self.dir.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// Leaves the lab running when this value goes.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    /// The namespaces that still exist.
    pub(crate) fn remains(&self) -> Vec<String> {
        let names = Place::ALL.map(|place| self.namespace(place));
        names.into_iter().filter(|name| Path::new("/run/netns").join(name).exists()).collect()
    }

    /// Stops the servers and removes the namespaces; their devices go with them.
    pub(crate) fn remove(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        self.servers.clear();
        for namespace in self.remains() {
            let _ = tell::undisturbed("ip").args(["netns", "del", &namespace]).status();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.kept {
            self.remove();
        }
    }
}

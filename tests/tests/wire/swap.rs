//! Programs come, go and are replaced under a stream of packets that are counted: none is missing.

use std::collections::BTreeSet;
use std::net::{SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;
use vnet_tests::lab::{ETH, INSIDE, Lab, OUTSIDE, UPLINK};
use vnet_tests::patience;

use crate::scene::{Scene, server};

/// Between two packets: so many that a gap of a millisecond would be seen.
const PACE: Duration = Duration::from_micros(300);

/// What became of a stream.
pub(crate) struct Tally {
    pub(crate) sent: u64,
    /// Numbers that the server has heard.
    heard: BTreeSet<u64>,
    /// Numbers that have come back.
    back: BTreeSet<u64>,
    /// Whom the server has heard.
    pub(crate) from: BTreeSet<SocketAddrV4>,
}

impl Tally {
    #[track_caller]
    pub(crate) fn is_whole(&self) {
        assert!(self.sent > 200, "{} were sent", self.sent);
        let missing = |heard: &BTreeSet<u64>| -> Vec<u64> {
            (0..self.sent).filter(|number| !heard.contains(number)).collect()
        };
        assert_eq!(missing(&self.heard), [0; 0], "of {} on their way out", self.sent);
        assert_eq!(missing(&self.back), [0; 0], "of {} on their way back", self.sent);
    }
}

/// Reads numbers until nothing comes any more, after `stop`.
fn numbers(socket: &UdpSocket, stop: &AtomicBool, mut each: impl FnMut(u64, SocketAddrV4)) {
    // Room for all that comes while the reader has to wait for a processor.
    let room = sockopt::set_socket_recv_buffer_size_force(socket, 8 << 20);
    room.expect("the tests run as root");
    let mut buffer = [0; 64];
    socket.set_read_timeout(Some(patience::seconds(1) / 2)).expect("a socket can wait");
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((8, std::net::SocketAddr::V4(from))) => {
                let number = buffer[..8].try_into().expect("eight bytes are eight");
                each(u64::from_be_bytes(number), from);
            }
            Ok(other) => panic!("a strange datagram: {other:?}"),
            Err(_) if stop.load(Ordering::Relaxed) => return,
            Err(_) => {}
        }
    }
}

/// Numbered packets to the server and back, while something is done to the router.
pub(crate) fn under_load(client: &UdpSocket, remote: &UdpSocket, work: impl FnOnce()) -> Tally {
    let (stop, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut tally =
        Tally { sent: 0, heard: BTreeSet::new(), back: BTreeSet::new(), from: BTreeSet::new() };
    let Tally { sent, heard, back, from } = &mut tally;
    thread::scope(|scope| {
        let (stop, over) = (&stop, &over);
        scope.spawn(move || {
            numbers(remote, over, |number, source| {
                heard.insert(number);
                from.insert(source);
                remote.send_to(&number.to_be_bytes(), source).expect("a datagram can be sent");
            });
        });
        scope.spawn(move || numbers(client, over, |number, _| _ = back.insert(number)));
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                client.send_to(&sent.to_be_bytes(), server()).expect("a datagram can be sent");
                *sent += 1;
                thread::sleep(PACE);
            }
            over.store(true, Ordering::Relaxed);
        });
        // The threads end with the work, also when that fails.
        let _end = Ends(stop);
        thread::sleep(Duration::from_millis(300));
        work();
        thread::sleep(Duration::from_millis(300));
    });
    tally
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Changes of each kind: what is loaded anew, what is only written, what comes and what goes.
const CHANGES: [&[&str]; 7] = [
    &["--log-level", "warn"],
    &["--timeout-udp", "200"],
    &["--no-shortcut", UPLINK],
    &["--events"],
    &["--inside", "in0"],
    &["--xdp", "generic"],
    &[],
];

#[test]
fn nothing_is_lost_while_programs_are_replaced() {
    let scene = Scene::new();
    let (client, remote) = (scene.udp(0, 4000), scene.lab.server.udp(server()));
    let tally = under_load(&client, &remote, || {
        for words in CHANGES {
            scene.lab.attach(words);
        }
    });
    tally.is_whole();
    assert_eq!(tally.from.len(), 1, "one conversation: {:?}", tally.from);
    scene.end();
}

#[test]
fn nothing_is_lost_when_the_first_program_comes() {
    // No sentry: until then, inside hosts are seen as who they are.
    let lab = Lab::new();
    lab.forward();
    lab.server.ip(&format!("route add {INSIDE} via {OUTSIDE} dev {ETH}"));
    let end = lab.client();
    let (client, remote) = (end.netns.udp((end.address, 4000)), lab.server.udp(server()));
    if !vnet_ctl::bpf::has_tcx() {
        // An old kernel stops a device's queues for a moment when it gets one (`qdisc_graft`).
        for device in ["in0", UPLINK] {
            lab.router.must("tc", &["qdisc", "add", "dev", device, "clsact"]);
        }
    }
    let tally = under_load(&client, &remote, || lab.attach(&[]));
    tally.is_whole();
    let from: Vec<_> = tally.from.iter().map(|from| *from.ip()).collect();
    assert_eq!(from, [end.address, OUTSIDE], "translated from then on");
}

//! TCP connections opened and closed by the client, one after the other, on one CPU.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::cpu;
use super::latency::check_source;
use super::scene::Scene;
use super::series::Sample;
use crate::socket::PATIENCE;

/// Where the server listens.
const PORT: u16 = 9200;

/// Takes one sample.
pub(super) fn sample(scene: &Scene, connections: u32) -> Result<Vec<Sample>> {
    let address = SocketAddrV4::new(scene.server_address(), PORT);
    let listener = scene.server().listen(address);
    let took = thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, connections, scene.source()));
        let client = scene.client().run(|| open_and_close(address, connections));
        let server = server.join().map_err(|_| anyhow!("the server panicked"))?;
        server.context("the server").and(client.context("the client"))
    })?;
    let rate = f64::from(connections) / took.as_secs_f64();
    Ok(vec![Sample::more("tcp-connections", "TCP connections", "per second", rate)])
}

fn open_and_close(address: SocketAddrV4, connections: u32) -> Result<Duration> {
    cpu::pin()?;
    let since = Instant::now();
    for _ in 0..connections {
        drop(TcpStream::connect_timeout(&address.into(), PATIENCE)?);
    }
    Ok(since.elapsed())
}

/// Accepts, waits for the other side's end, and ends its own.
fn serve(listener: &TcpListener, connections: u32, source: Ipv4Addr) -> Result<()> {
    cpu::pin()?;
    for _ in 0..connections {
        let (mut connection, from) = listener.accept()?;
        check_source(from.ip(), source)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let ended = connection.read(&mut [0])?;
        anyhow::ensure!(ended == 0, "a client said something");
    }
    Ok(())
}

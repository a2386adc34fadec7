//! Who may send to a mapping, changed while conversations go on.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use vnet_tests::lab::{self, Lab};
use vnet_tests::patience;
use vnet_tests::socket::{expect_silence, receive};

use crate::scene::{PORT, Scene, ask, outside, server, wait_until};

const OPEN: [&str; 2] = ["--filtering", "endpoint-independent"];
const BY_ADDRESS: [&str; 2] = ["--filtering", "address-dependent"];

/// What `from` says is heard by the client.
#[track_caller]
fn is_let_in(from: &UdpSocket, to: SocketAddrV4, client: &UdpSocket) {
    from.send_to(b"may I?", to).expect("a datagram can be sent");
    let (heard, by) = receive(client);
    assert_eq!(heard, b"may I?");
    assert_eq!(SocketAddr::from(by), from.local_addr().expect("it is bound"));
}

/// What `from` says is not heard, though what the partner says is.
#[track_caller]
fn is_shut_out(from: &UdpSocket, to: SocketAddrV4, client: &UdpSocket, partner: &UdpSocket) {
    from.send_to(b"may I?", to).expect("a datagram can be sent");
    expect_silence(client, || {
        partner.send_to(b"from a friend", to).expect("a datagram can be sent");
    });
}

#[test]
fn rfc4787_req8_the_filter_is_switched_while_conversations_go_on() {
    let scene = Scene::of(Lab::plan().server_addresses(2), &[]);
    let lab = &scene.lab;
    let partner = lab.server.udp(server());
    let client = scene.udp(0, 4000);
    assert_eq!(ask(&client, &partner), outside(4000));
    // From other ports each time: whoever was let in once has a flow of its own.
    let other_port = |n| lab.server.udp(lab::server(0, PORT + n));
    let other_address = |n| lab.server.udp(lab::server(1, PORT + n));
    is_shut_out(&other_port(1), outside(4000), &client, &partner);
    lab.attach(&BY_ADDRESS);
    is_let_in(&other_port(2), outside(4000), &client);
    is_shut_out(&other_address(2), outside(4000), &client, &partner);
    lab.attach(&OPEN);
    is_let_in(&other_address(3), outside(4000), &client);
    lab.attach(&[]);
    is_shut_out(&other_port(4), outside(4000), &client, &partner);
    is_shut_out(&other_address(4), outside(4000), &client, &partner);
    // By now it has a flow with the other address too.
    lab.attach(&BY_ADDRESS);
    is_let_in(&other_address(5), outside(4000), &client);
    scene.end();
}

#[test]
fn whom_a_mapping_has_forgotten_is_not_let_in_again_by_another_switch() {
    let scene = Scene::of(Lab::plan().server_addresses(2), &[]);
    let lab = &scene.lab;
    let short = ["--timeout-udp", "1", "--port-rest", "0"];
    let by_address = [BY_ADDRESS.as_slice(), &short].concat();
    lab.attach(&by_address);
    let (former, partner) = (lab.server.udp(server()), lab.server.udp(lab::server(1, PORT)));
    assert_eq!(ask(&scene.udp(0, 4000), &former), outside(4000));
    lab.attach(&short);
    wait_until("the conversation is over", Duration::from_secs(10), || lab.flows().is_empty());
    lab.attach(&[BY_ADDRESS.as_slice(), &["--port-rest", "0"]].concat());
    let client = scene.udp(0, 4000);
    let mapped = ask(&client, &partner);
    assert_eq!(mapped, outside(4000), "the same mapping once more");
    is_shut_out(&lab.server.udp(lab::server(0, PORT + 1)), mapped, &client, &partner);
    is_let_in(&lab.server.udp(lab::server(1, PORT + 1)), mapped, &client);
    scene.end();
}

#[test]
fn an_address_is_let_in_as_long_as_there_is_a_conversation_with_it() {
    // Long enough for a turn of both that go on, also where everything is slow.
    let idle = patience::seconds(2);
    let seconds = idle.as_secs().to_string();
    let words = [BY_ADDRESS.as_slice(), &["--timeout-udp", &seconds]].concat();
    let scene = Scene::of(Lab::plan().server_addresses(2), &words);
    let lab = &scene.lab;
    let (former, partner) = (lab.server.udp(server()), lab.server.udp(lab::server(1, PORT)));
    let second = lab.server.udp(lab::server(0, PORT + 1));
    let client = scene.udp(0, 4000);
    for remote in [&former, &second, &partner] {
        assert_eq!(ask(&client, remote), outside(4000));
    }
    // One conversation of two with that address ends, then the other one.
    let ended = |left: usize, going_on: &[&UdpSocket]| {
        wait_until("a conversation is over", 5 * idle, || {
            going_on.iter().for_each(|remote| assert_eq!(ask(&client, remote), outside(4000)));
            lab.flows().len() == left
        });
    };
    ended(2, &[&second, &partner]);
    is_let_in(&lab.server.udp(lab::server(0, PORT + 2)), outside(4000), &client);
    ended(1, &[&partner]);
    is_shut_out(&lab.server.udp(lab::server(0, PORT + 3)), outside(4000), &client, &partner);
    is_let_in(&lab.server.udp(lab::server(1, PORT + 3)), outside(4000), &client);
    scene.end();
}

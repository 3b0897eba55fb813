//! Subscribers that were away for longer than their connections last.

use async_std::task::block_on;
use nix::sys::signal::Signal;

use crate::crowd::{Crowd, Ear, Member, eventually};
use crate::lan::Lan;
use crate::words::until_heard;

const TOPIC: &str = "/p2p-node/crowd";

/// Waits until `here` has given up its connections with `away`.
async fn gives_up(here: &Member, away: &Member) {
    eventually("the one that is away is given up", async || {
        (!here.is_connected_with(away.peer()).await).then_some(())
    })
    .await;
}

/// Both hear each other.
async fn hear_each_other(when: &str, one: (&Member, &Ear), other: (&Member, &Ear)) {
    until_heard(
        &format!("{when}, one to the other"),
        one.0,
        TOPIC,
        &[other.1],
    )
    .await;
    until_heard(&format!("{when}, and back"), other.0, TOPIC, &[one.1]).await;
}

#[test]
fn a_subscriber_that_was_stopped_for_long_is_heard_again() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let topic = [("P2P_TOPICS", TOPIC)];
        let crowd = Crowd::start(dir.path(), &[], 2, &topic).await;
        let [one, other] = crowd.members.as_slice() else {
            unreachable!("two members");
        };
        one.connect(other).await;
        let (at_one, at_other) = (Ear::at(one, TOPIC).await, Ear::at(other, TOPIC).await);
        hear_each_other("at first", (one, &at_one), (other, &at_other)).await;
        other.daemon().signal(Signal::SIGSTOP);
        gives_up(one, other).await;
        gives_up(&crowd.door, other).await;
        other.daemon().signal(Signal::SIGCONT);
        hear_each_other("after the stop", (one, &at_one), (other, &at_other)).await;
    });
}

#[test]
fn subscribers_on_both_sides_of_a_partition_hear_each_other_when_it_is_healed() {
    let Some(lan) = Lan::if_possible(3) else {
        return;
    };
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let member = |n: usize, variables: &[(&str, &str)]| {
            let listen = format!("/ip4/192.0.2.{n}/tcp/4001");
            let mut all = vec![
                ("P2P_LISTEN_ADDRS", listen.as_str()),
                ("P2P_DHT_MODE", "server"),
            ];
            all.extend(variables);
            Member::new(dir.path().join(format!("host{n}")), &all).on_host(lan.host(n))
        };
        let mut door = member(1, &[("P2P_BOOTSTRAP", "true")]);
        door.start().await;
        let address = door.address().await;
        let entry = [
            ("P2P_BOOTSTRAP_PEERS", address.as_str()),
            ("P2P_TOPICS", TOPIC),
        ];
        let (mut one, mut other) = (member(2, &entry), member(3, &entry));
        one.start().await;
        other.start().await;
        one.connect(&other).await;
        let (at_one, at_other) = (Ear::at(&one, TOPIC).await, Ear::at(&other, TOPIC).await);
        hear_each_other("at first", (&one, &at_one), (&other, &at_other)).await;
        lan.cut(3);
        for here in [&one, &door] {
            gives_up(here, &other).await;
            gives_up(&other, here).await;
        }
        lan.heal(3);
        hear_each_other("after the partition", (&one, &at_one), (&other, &at_other)).await;
    });
}

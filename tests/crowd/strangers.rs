//! Subscribers whose only common peer is not on their topic.

use async_std::task::block_on;

use crate::crowd::{Crowd, Ear};
use crate::words::{everybody_hears, until_heard};

const TOPIC: &str = "/p2p-node/strangers";

#[test]
fn subscribers_find_each_other_though_their_bootstrap_node_lacks_the_topic() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        // As hosts behind a router are: servers of the DHT would meet each other on
        // their way into it.
        let hidden = [("P2P_TOPICS", TOPIC), ("P2P_DHT_MODE", "client")];
        let crowd = Crowd::start(dir.path(), &[], 2, &hidden).await;
        let [one, other] = crowd.members.as_slice() else {
            unreachable!("two members");
        };
        let ears = [Ear::at(one, TOPIC).await, Ear::at(other, TOPIC).await];
        until_heard("one to the other", one, TOPIC, &[&ears[1]]).await;
        until_heard("and back", other, TOPIC, &[&ears[0]]).await;
        let speakers: Vec<_> = [one, other].into_iter().cycle().take(50).collect();
        everybody_hears("both", &speakers, TOPIC, &ears).await;
    });
}

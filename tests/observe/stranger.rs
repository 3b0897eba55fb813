//! A peer that reports markup as its agent and protocols through real identify.

use std::time::Duration;

use futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, identify, swarm};
use p2p_node::transport;

/// What it calls itself. Each would show or run if it got into a page as it is.
pub(crate) const AGENT: &str =
    "<script>document.title='forged'</script><img src=http://192.0.2.1/x>\"'>&";

/// Connects to `target`, tells who it is, and stays until the thread that it runs
/// in is dropped with the test.
pub(crate) fn meet(target: &str) {
    let target: Multiaddr = target.parse().unwrap();
    let (met, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        async_std::task::block_on(async move {
            let key = Keypair::generate_ed25519();
            let options = transport::Options::default();
            let (stack, _relay) = transport::build(&key, &options).unwrap();
            let identify = identify::Behaviour::new(
                identify::Config::new(AGENT.to_owned(), key.public())
                    .with_agent_version(AGENT.to_owned()),
            );
            let config = swarm::Config::with_executor(|task| {
                async_std::task::spawn(task);
            })
            .with_idle_connection_timeout(Duration::from_secs(600));
            let local = key.public().to_peer_id();
            let mut swarm = Swarm::new(stack, identify, local, config);
            swarm.dial(target).unwrap();
            loop {
                let event = swarm.select_next_some().await;
                if let SwarmEvent::Behaviour(identify::Event::Sent { .. }) = event {
                    let _ = met.send(());
                }
            }
        });
    });
    done.recv_timeout(crate::common::DEADLINE).unwrap();
}

//! Collects facts from the daemon: two snapshots a second apart, and which bootstrap
//! peers answer.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::{DiagArgs, Presence, tool};
use crate::api::Snapshot;
use crate::cli::context::{Context, prompt};
use crate::control::{Client, client};
use crate::diag::figures::{Figures, Reach};
use crate::diag::host::Socket;
use crate::peers::Target;

/// The time between the two snapshots from which the processor time in use is computed.
const BETWEEN: Duration = Duration::from_secs(1);

/// How long a bootstrap peer may take to answer. A dial over a slow link takes some
/// hundred milliseconds; a peer that takes longer than this is of no use.
const DIAL: Duration = Duration::from_secs(5);

/// The maximum number of bootstrap peers that are dialed. All of them are dialed at once.
const DIALS: usize = 16;

/// What was found out about the daemon.
pub(super) struct Seen {
    pub(super) presence: Presence,
    pub(super) sockets: Vec<(PathBuf, Socket)>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) figures: Option<Figures>,
}

pub(super) async fn gather(context: &Context, args: &DiagArgs) -> Seen {
    let mut seen = Seen {
        presence: Presence::Absent,
        sockets: Vec::new(),
        snapshot: None,
        figures: None,
    };
    for path in context.sockets() {
        let socket = match Client::connect(&path).await {
            Ok(mut client) => match ask(&mut client, &path, args).await {
                Ok((snapshot, figures)) => {
                    seen.snapshot = Some(snapshot);
                    seen.figures = Some(figures);
                    seen.presence = Presence::Running;
                    Socket::Answers
                }
                Err(why) => {
                    seen.presence = Presence::Silent;
                    Socket::Silent(why)
                }
            },
            Err(client::Error::Denied { .. }) => {
                seen.presence = Presence::Silent;
                Socket::Denied
            }
            Err(_) => lying_at(&path),
        };
        let found = seen.presence != Presence::Absent;
        seen.sockets.push((path, socket));
        if found {
            break;
        }
    }
    seen
}

/// Returns what is at the path of a socket that accepted no connection.
fn lying_at(path: &Path) -> Socket {
    match std::fs::metadata(path) {
        Ok(m) if m.file_type().is_socket() => Socket::Abandoned,
        Ok(_) => Socket::NotASocket,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Socket::Denied,
        Err(_) => Socket::Missing,
    }
}

async fn ask(
    client: &mut Client,
    path: &Path,
    args: &DiagArgs,
) -> Result<(Snapshot, Figures), String> {
    let told = |e: crate::cli::error::Error| e.line().unwrap_or("it hung up").to_owned();
    let first = prompt("diag", client.diag()).await.map_err(told)?;
    async_std::task::sleep(BETWEEN).await;
    let second = prompt("diag", client.diag()).await.map_err(told)?;
    let mut figures = Figures::of(&second);
    figures.cpu_between(&first, &second);
    figures.clock_synchronised = clock_synchronised();
    // Without the event loop no peer can be reached. A finding further up reports that.
    if second.status.is_some() {
        let peers = prompt("peers", client.list_peers()).await.map_err(told)?;
        let connected: Vec<PeerId> = peers.into_iter().map(|p| p.id).collect();
        let bans = prompt("bans", client.bans()).await.map_err(told)?;
        let banned: Vec<Target> = bans.into_iter().map(|b| b.ban.target).collect();
        reach(&mut figures, &connected, &banned);
        figures.banned_but_wanted = wanted(&second, &banned);
        if !args.no_dial {
            dial(&mut figures, path).await;
        }
    }
    Ok((second, figures))
}

/// Returns whether a time server keeps the kernel's clock, according to systemd.
fn clock_synchronised() -> Option<bool> {
    let answer = tool::ask("timedatectl", &["show", "-p", "NTPSynchronized", "--value"])?;
    match answer.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn reach(figures: &mut Figures, connected: &[PeerId], banned: &[Target]) {
    for bootstrap in &mut figures.bootstrap {
        let peer = peer_of(&bootstrap.address);
        if peer.is_some_and(|p| connected.contains(&p)) {
            bootstrap.reach = Reach::Connected;
        } else if banned.iter().any(|t| is_of(t, peer, &bootstrap.address)) {
            bootstrap.reach = Reach::Banned;
        }
    }
}

/// Dials the bootstrap peers to which no connection is open.
async fn dial(figures: &mut Figures, path: &Path) {
    let tries: Vec<_> = figures
        .bootstrap
        .iter_mut()
        .filter(|b| b.reach == Reach::Unknown)
        .take(DIALS)
        .map(|b| async move {
            let tried = async {
                let mut client = Client::connect(path).await?;
                let addrs = [b.address.clone()];
                client
                    .connect_peer(peer_of(&b.address), &addrs, Some(DIAL))
                    .await
            };
            b.reach = match async_std::future::timeout(2 * DIAL, tried).await {
                Ok(Ok(_)) => Reach::Answered,
                Ok(Err(e)) => Reach::Failed(e.to_string()),
                Err(_) => Reach::Failed("no answer".into()),
            };
        })
        .collect();
    futures::stream::iter(tries)
        .buffer_unordered(DIALS)
        .collect::<()>()
        .await;
}

/// Returns the peers that are named in the configuration but refused by a ban.
fn wanted(snapshot: &Snapshot, banned: &[Target]) -> Vec<String> {
    let mut found = Vec::new();
    for name in [
        "P2P_BOOTSTRAP_PEERS",
        "P2P_PEERING",
        "P2P_RELAYS",
        "P2P_TRUSTED_PEERS",
    ] {
        for text in snapshot.setting(name).unwrap_or_default().split(',') {
            let address = text
                .parse::<Multiaddr>()
                .unwrap_or_else(|_| Multiaddr::empty());
            let peer = peer_of(&address).or_else(|| text.parse().ok());
            if banned.iter().any(|t| is_of(t, peer, &address)) {
                found.push(format!("{text} ({name})"));
            }
        }
    }
    found
}

fn is_of(ban: &Target, peer: Option<PeerId>, address: &Multiaddr) -> bool {
    match ban {
        Target::Peer(banned) => peer == Some(*banned),
        Target::Net(net) => address.iter().any(|p| match p {
            Protocol::Ip4(ip) => net.contains(&std::net::IpAddr::from(ip)),
            Protocol::Ip6(ip) => net.contains(&std::net::IpAddr::from(ip)),
            _ => false,
        }),
    }
}

fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last()? {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn a_ban_of_a_peer_or_of_its_network_is_seen() {
        let address: Multiaddr = format!("/ip4/192.0.2.1/tcp/1/p2p/{PEER}").parse().unwrap();
        let peer = peer_of(&address);
        let ban = |text: &str| text.parse::<Target>().unwrap();
        assert!(is_of(&ban(PEER), peer, &address));
        assert!(is_of(&ban("192.0.2.0/24"), peer, &address));
        assert!(!is_of(&ban("192.0.3.0/24"), peer, &address));
        let other = PeerId::random();
        assert!(!is_of(&Target::Peer(other), peer, &address));
        assert_eq!(peer_of(&"/ip4/192.0.2.1/tcp/1".parse().unwrap()), None);
    }
}

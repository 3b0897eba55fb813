//! The work, written once for both stacks.

use std::time::{Duration, Instant};

use futures::channel::mpsc;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, StreamProtocol, Swarm};
use libp2p_stream::Behaviour;

use super::{Result, Work};

/// Bytes in one read or write of the program.
pub const BUFFER: usize = 128 * 1024;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/twin/1.0.0");

/// Resident memory in KiB and CPU seconds of this process, from procfs.
pub fn usage() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .map_or("?", |rest| rest.trim().trim_end_matches(" kB"))
        .to_owned();
    format!("rss_kib={rss} cpu_s={:.2}", cpu())
}

fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

pub fn print_transfer(bytes: u64, took: Duration) {
    println!("MB/s={:.1} cpu_s={:.2}", bytes as f64 / 1e6 / took.as_secs_f64(), cpu());
}

pub async fn listen(mut swarm: Swarm<Behaviour>) -> Result<()> {
    let mut incoming = swarm.behaviour().new_control().accept(PROTOCOL)?.fuse();
    for quic in [false, true] {
        if swarm.listen_on(super::stacks::listen_address(quic).parse()?).is_ok() {
            break;
        }
    }
    let (lines, mut asked) = mpsc::unbounded();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let _ = lines.unbounded_send(line);
        }
    });
    loop {
        futures::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::NewListenAddr { address, .. } => {
                    println!("{}", address.with(Protocol::P2p(*swarm.local_peer_id())));
                }
                SwarmEvent::ListenerError { error, .. } => return Err(error.into()),
                _ => {}
            },
            stream = incoming.next() => if let Some((_, stream)) = stream {
                spawn(async move {
                    if let Err(e) = receive(stream).await {
                        eprintln!("receive: {e}");
                    }
                });
            },
            line = asked.next() => match line {
                Some(_) => println!("{}", usage()),
                None => return Ok(()),
            },
        }
    }
}

/// On the runtime of the stack under measurement.
fn spawn(task: impl std::future::Future<Output = ()> + Send + 'static) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            runtime.spawn(task);
        }
        Err(_) => {
            async_std::task::spawn(task);
        }
    }
}

async fn receive(mut stream: libp2p::Stream) -> Result<()> {
    let mut header = [0; 8];
    stream.read_exact(&mut header).await?;
    let mut left = u64::from_be_bytes(header);
    let mut buffer = vec![0; BUFFER];
    while left > 0 {
        match stream.read(&mut buffer).await? {
            0 => break,
            n => left -= n as u64,
        }
    }
    stream.write_all(&left.to_be_bytes()).await?;
    stream.close().await?;
    Ok(())
}

async fn send(mut stream: libp2p::Stream, bytes: u64) -> Result<()> {
    let buffer = vec![7; BUFFER];
    let start = Instant::now();
    stream.write_all(&bytes.to_be_bytes()).await?;
    let mut left = bytes;
    while left > 0 {
        let n = left.min(BUFFER as u64);
        stream.write_all(&buffer[..n as usize]).await?;
        left -= n;
    }
    stream.flush().await?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await?;
    if answer != [0; 8] {
        return Err("the listener missed bytes".into());
    }
    print_transfer(bytes, start.elapsed());
    stream.close().await?;
    Ok(())
}

fn options(peer: PeerId, address: &Multiaddr) -> DialOpts {
    DialOpts::peer_id(peer)
        .condition(PeerCondition::Always)
        .addresses(vec![address.clone()])
        .allocate_new_port()
        .build()
}

pub async fn dial(mut swarm: Swarm<Behaviour>, address: Multiaddr, work: Work) -> Result<()> {
    let Some(Protocol::P2p(peer)) = address.iter().last() else {
        return Err("the address has no peer id".into());
    };
    match work {
        Work::Transfer { bytes } => {
            swarm.dial(options(peer, &address))?;
            let mut control = swarm.behaviour().new_control();
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { .. } => break,
                    SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
                    _ => {}
                }
            }
            spawn(async move {
                loop {
                    swarm.select_next_some().await;
                }
            });
            let stream = control.open_stream(peer, PROTOCOL).await?;
            let (done, ended) = futures::channel::oneshot::channel();
            spawn(async move {
                let _ = done.send(send(stream, bytes).await);
            });
            ended.await?
        }
        Work::Handshakes { count, parallel } => {
            let start = Instant::now();
            let mut begun = 0;
            while begun < parallel.min(count) {
                swarm.dial(options(peer, &address))?;
                begun += 1;
            }
            let mut done = 0;
            while done < count {
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                        swarm.close_connection(connection_id);
                    }
                    SwarmEvent::ConnectionClosed { .. } => {
                        done += 1;
                        if begun < count {
                            swarm.dial(options(peer, &address))?;
                            begun += 1;
                        }
                    }
                    SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
                    _ => {}
                }
            }
            let rate = count as f64 / start.elapsed().as_secs_f64();
            println!("handshakes/s={rate:.1} cpu_s={:.2}", cpu());
            Ok(())
        }
        Work::Idle { count } => {
            let mut begun = 0;
            let mut open = 0;
            while open < count {
                while begun < count && begun - open < 16 {
                    swarm.dial(options(peer, &address))?;
                    begun += 1;
                }
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { .. } => open += 1,
                    SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
                    _ => {}
                }
            }
            // Until the listener has finished its side and is at rest.
            let rest = Instant::now() + Duration::from_secs(3);
            let (done, mut ended) = mpsc::unbounded::<()>();
            std::thread::spawn(move || {
                std::thread::sleep(rest.saturating_duration_since(Instant::now()));
                println!("connections={count}");
                let _ = std::io::stdin().lines().count();
                drop(done);
            });
            loop {
                futures::select! {
                    _ = swarm.select_next_some() => {}
                    _ = ended.next() => return Ok(()),
                }
            }
        }
    }
}

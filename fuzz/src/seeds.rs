//! The initial corpus, made by the program's own encoders.
//!
//! `./run --seeds` writes it. The name of a file says what it contains.

use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;
use libp2p::identity::Keypair;
use libp2p::multiaddr::{Multiaddr, Protocol};
use p2p_node::config::{VARIABLES, env_file};
use p2p_node::content::address::{self, Codec};
use p2p_node::content::dag::{self, Child};
use p2p_node::message::signer::Signer;
use p2p_node::message::{Limits, compression, seal};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::targets::{self, block, exchange, message};
use crate::wire::{self, Block, Request, Response, Want};

/// Writes every seed into a folder for each target under `folder`.
pub fn write(folder: &Path) -> io::Result<()> {
    for (target, name, data) in seeds() {
        assert!(
            targets::TARGETS.iter().any(|t| t.name == target),
            "{target} is no target"
        );
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), data)?;
    }
    Ok(())
}

type Seed = (&'static str, String, Vec<u8>);

fn seeds() -> Vec<Seed> {
    let mut out = Vec::new();
    messages(&mut out);
    blocks(&mut out);
    exchanges(&mut out);
    controls(&mut out);
    texts(&mut out);
    transports(&mut out);
    multiplexers(&mut out);
    rows(&mut out);
    out
}

/// Steps as `targets/yamux.rs` reads them.
fn multiplexers(out: &mut Vec<Seed>) {
    // A stream with bytes, which is accepted, read, answered and ended.
    let life = [
        &[0][..],
        &[0, 1, 1, 1, 0],
        &[10, 0, 0, 7, 0, 255, 8, 0, 4, 6, 0, 0],
        &[0, 1, 4, 0, 9, 7, 0, 255, 7, 0, 1, 11, 0, 0, 11, 0, 5],
    ];
    add(out, "yamux", "life_of_a_stream", life.concat());
    // A stream of this side, with pings, credit and a reset.
    let own = [
        &[1][..],
        &[9, 0, 0, 8, 0, 9, 6, 0, 0, 12, 1, 2, 1, 0],
        &[24, 0, 1, 0, 7, 24, 0, 2, 0, 0, 11, 200, 2, 6, 0, 0],
        &[12, 1, 8, 0, 0, 7, 0, 1, 8, 0, 1],
    ];
    add(out, "yamux", "own_stream", own.concat());
    let raw = b"\0\x05\x18\0\0\x01\0\x01\0\0\0\x01\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0";
    add(out, "yamux", "raw_bytes", &raw[..]);
    let away = [&[0][..], &[0, 1, 1, 255, 255, 36, 0, 0, 0, 0]];
    add(out, "yamux", "go_away", away.concat());
}

fn add(out: &mut Vec<Seed>, target: &'static str, name: &str, data: impl Into<Vec<u8>>) {
    out.push((target, name.into(), data.into()));
}

fn text(len: usize) -> Vec<u8> {
    let line = b"{\"station\":17,\"celsius\":21.5}\n";
    line.iter().copied().cycle().take(len).collect()
}

fn delimited(message: &impl Message) -> Vec<u8> {
    message.encode_length_delimited_to_vec()
}

fn peer() -> libp2p::PeerId {
    message::keypair().public().to_peer_id()
}

fn addresses() -> Vec<Multiaddr> {
    let peer = peer();
    [
        "/ip4/192.0.2.1/tcp/4001".to_owned(),
        format!("/ip6/2001:db8::1/udp/4001/quic-v1/p2p/{peer}"),
        format!("/dnsaddr/bootstrap.example/p2p/{peer}"),
        "/dns4/node.example/tcp/443/wss".to_owned(),
        format!("/ip4/192.0.2.1/tcp/4001/p2p/{peer}/p2p-circuit"),
    ]
    .iter()
    .filter_map(|text| text.parse().ok())
    .collect()
}

fn messages(out: &mut Vec<Seed>) {
    let limits = Limits::of_payload(64 << 10);
    let keys = [
        ("ed25519", message::keypair().clone()),
        ("secp256k1", Keypair::generate_secp256k1()),
        ("ecdsa", Keypair::generate_ecdsa()),
    ];
    for (kind, key) in &keys {
        for (what, len) in [("empty", 0), ("plain", 40), ("packed", 4000)] {
            let sealed = seal(key, message::TOPIC, 1 << 50, text(len).into(), limits);
            let name = format!("{kind}-{what}");
            out.extend(sealed.ok().map(|s| ("envelope", name, s.to_vec())));
        }
    }
    for (name, len) in [("plain", 40), ("packed", 4000)] {
        let (payload, how) = compression::pack(text(len).into());
        let mut data = 7_u64.to_le_bytes().to_vec();
        data.push(how as u8);
        data.extend_from_slice(&payload);
        add(out, "envelope_signed", name, data);
    }
    for (name, plain) in [
        ("text", text(4000)),
        ("zeros", vec![0; 20_000]),
        ("nothing", Vec::new()),
    ] {
        let packed = snap::raw::Encoder::new().compress_vec(&plain);
        add(out, "compression", name, packed.unwrap_or_default());
        add(out, "compression", &format!("{name}-unpacked"), plain);
    }
}

/// A block as an honest peer sends it.
fn good(data: &[u8]) -> Block {
    let hash = address::address(data, Codec::Raw).hash().to_bytes();
    let publisher = Signer::new(message::keypair().clone());
    let said = publisher
        .sign(&hash, block::PUT, 60)
        .expect("ed25519 always signs");
    let (data, how) = compression::pack(Bytes::copy_from_slice(data));
    Block {
        hash,
        data: data.to_vec(),
        timestamp: said.timestamp,
        ttl: said.ttl,
        version: said.version,
        signature: said.signature.to_vec(),
        key: said.key.to_vec(),
        compression: how as i32,
    }
}

fn children(count: usize) -> Vec<Child> {
    (0..count)
        .map(|n| {
            let content = n.to_le_bytes();
            Child {
                cid: address::address(&content, Codec::Raw),
                size: content.len() as u64,
                total: content.len() as u64,
            }
        })
        .collect()
}

fn blocks(out: &mut Vec<Seed>) {
    add(out, "block", "wanted", good(block::WANTED).encode_to_vec());
    add(out, "block", "another", good(b"another").encode_to_vec());
    add(out, "block", "empty", Block::default().encode_to_vec());
    for (name, data) in [("plain", text(40)), ("packed", text(4000))] {
        let (sent, how) = compression::pack(data.into());
        let mut seed = block::PUT.to_le_bytes().to_vec();
        seed.extend(60_u32.to_le_bytes());
        seed.extend((block::PUT + 1000).to_le_bytes());
        seed.push(how as u8);
        seed.extend_from_slice(&sent);
        add(out, "block_signed", name, seed);
    }
    for count in [0, 1, 2, 12] {
        let name = format!("{count}-children");
        add(out, "dag", &name, dag::encode_file(&children(count)));
    }
    // A leaf with its content inside, and sizes packed, as others write them.
    add(out, "dag", "leaf", *b"\x0a\x09\x08\x02\x12\x03abc\x18\x03");
    add(out, "dag", "directory", *b"\x0a\x02\x08\x01");
    let raw = address::address(b"hello", Codec::Raw);
    let pb = address::address(b"hello", Codec::DagPb);
    let v0 = cid::Cid::new_v0(*pb.hash()).map(|cid| cid.to_string());
    add(out, "cid", "raw", raw.to_string());
    add(out, "cid", "dag-pb-with-path", format!("/ipfs/{pb}"));
    add(out, "cid", "url", format!("ipfs://{pb}"));
    add(out, "cid", "version-0", v0.unwrap_or_default());
    add(out, "cid", "raw-binary", raw.to_bytes());
}

fn exchanges(out: &mut Vec<Seed>) {
    let wants: Vec<Want> = exchange::held()
        .keys()
        .chain([&address::address(b"absent", Codec::Raw)])
        .zip(1..)
        .map(|(cid, id)| Want {
            id,
            cid: cid.to_bytes(),
            have_only: id % 2 == 1,
        })
        .collect();
    let ask = Request {
        wants: wants.clone(),
        cancel: Vec::new(),
    };
    let cancel = Request {
        wants: Vec::new(),
        cancel: vec![2, 99],
    };
    for target in ["exchange_requests", "exchange_serve"] {
        add(out, target, "wants", delimited(&ask));
        add(out, target, "wants-and-cancels", {
            [delimited(&ask), delimited(&cancel)].concat()
        });
        let twice = Request {
            wants: [&wants[..], &wants[..]].concat(),
            cancel: vec![1],
        };
        add(out, target, "ids-twice", delimited(&twice));
        add(out, target, "empty-frame", [0]);
    }
    let block = Response {
        id: 1,
        status: 0,
        block: Some(good(b"one")),
    };
    let packed = Response {
        id: 2,
        status: 0,
        block: Some(good(&text(3000))),
    };
    let refused = Response {
        id: 3,
        status: 1,
        block: None,
    };
    let all = [delimited(&block), delimited(&packed), delimited(&refused)];
    add(out, "exchange_responses", "block", delimited(&block));
    add(out, "exchange_responses", "three", all.concat());
    let twice = [delimited(&refused), delimited(&refused)].concat();
    add(out, "exchange_responses", "answered-twice", twice);
}

fn controls(out: &mut Vec<Seed>) {
    use wire::{BlockRequest, ControlRequest, DhtRequest, PeerAndAddrs, PubsubRequest};
    let cid = address::address(b"hello", Codec::Raw).to_bytes();
    let addrs: Vec<Vec<u8>> = addresses().iter().map(Multiaddr::to_vec).collect();
    let connect = ControlRequest {
        kind: 1,
        connect: Some(PeerAndAddrs {
            peer: peer().to_bytes(),
            addrs: addrs.clone(),
            timeout: Some(5),
        }),
        ..Default::default()
    };
    let providers = ControlRequest {
        kind: 4,
        dht: Some(DhtRequest {
            kind: 2,
            cid: Some(cid.clone()),
            count: Some(-1),
            timeout: Some(i64::MIN),
            ..Default::default()
        }),
        ..Default::default()
    };
    let publish = ControlRequest {
        kind: 8,
        pubsub: Some(PubsubRequest {
            kind: 2,
            topic: Some("/p2p-node/chat".into()),
            data: Some(text(400)),
        }),
        ..Default::default()
    };
    let put = ControlRequest {
        kind: 102,
        block: Some(BlockRequest {
            kind: 0,
            cid: Some(cid.clone()),
            ttl: Some(u64::MAX),
        }),
        ..Default::default()
    };
    for (name, request) in [
        ("connect", &connect),
        ("providers", &providers),
        ("publish", &publish),
        ("put", &put),
    ] {
        add(out, "control_requests", name, delimited(request));
    }
    let all = [&connect, &providers, &put].map(delimited).concat();
    add(out, "control_requests", "three", all);
    add(
        out,
        "control_requests",
        "too-long",
        [0xff, 0xff, 0xff, 0x7f],
    );

    let mut upload = Vec::new();
    for size in [1_usize, 200, 20_000] {
        let _ = prost::encode_length_delimiter(size, &mut upload);
        upload.extend(vec![1; size]);
    }
    add(out, "control_upload", "without-its-mark", upload.clone());
    upload.push(0);
    add(out, "control_upload", "whole", upload.clone());
    upload.extend(delimited(&connect));
    add(out, "control_upload", "whole-and-a-request", upload);
    add(out, "control_upload", "nothing", [0]);

    for (name, parts) in answer_parts() {
        let encoded = p2p_node::fuzzing::control::encode(&parts);
        add(out, "control_answers", name, encoded);
    }
    let peers = wire::PeersAnswer {
        kind: 0,
        peers: vec![wire::PeerStatus {
            id: Some(peer().to_bytes()),
            agent: Some("go-libp2p/0.32".into()),
            ping_us: Some(1250),
            connections: vec![wire::ConnectionStatus {
                inbound: Some(true),
                transport: Some("tcp".into()),
                addr: Some(addrs[0].clone()),
                age_ms: Some(u64::MAX),
            }],
            weight: Some(-3),
        }],
    };
    add(out, "control_answers", "peers", peers.encode_to_vec());
    let gossip = wire::GossipMessage {
        from: Some(peer().to_bytes()),
        data: Some(text(100)),
        seqno: Some(vec![1; 8]),
        topics: vec!["/p2p-node/chat".into()],
    };
    add(out, "control_gossip", "message", gossip.encode_to_vec());
}

fn answer_parts() -> Vec<(&'static str, Vec<p2p_node::fuzzing::control::Part>)> {
    use p2p_node::api::{
        Entry, Health, LimitStatus, PeerInfo, Publication, State, Status, StreamInfo, TopicStatus,
        Unit,
    };
    use p2p_node::fuzzing::control::Part;
    use std::time::{Duration, UNIX_EPOCH};
    let addrs = addresses();
    let status = Status {
        peer_id: Some(peer()),
        agent: "p2p-node/0.1.0".into(),
        network: "p2p-node".into(),
        uptime: Duration::from_secs(90),
        state: State::Running,
        listen_addrs: addrs.clone(),
        topics: vec![TopicStatus {
            topic: "chat".into(),
            mesh_peers: 2,
            peers: 3,
        }],
        limits: vec![LimitStatus {
            name: "connections".into(),
            unit: Unit::Count,
            used: 1,
            allowed: 400,
            variable: "P2P_MAX_CONNECTIONS".into(),
        }],
        ..Status::default()
    };
    let info = PeerInfo {
        id: peer(),
        addrs: addrs.clone(),
    };
    let stream = StreamInfo {
        peer: peer(),
        addr: addrs[0].clone(),
        proto: "/echo/1.0.0".into(),
    };
    let entry = Entry {
        cid: address::address(b"hello", Codec::Raw),
        size: 5,
        blocks: 1,
        blocks_here: 1,
        pinned: true,
        added: Some(UNIX_EPOCH + Duration::from_millis(block::PUT)),
        expires: None,
        name: Some("hello.txt".into()),
        announce_error: None,
        announcing: 3,
        publication: Some(Publication {
            publisher: peer(),
            at: UNIX_EPOCH + Duration::from_millis(block::PUT),
            until: UNIX_EPOCH + Duration::from_millis(block::PUT + 60_000),
        }),
    };
    vec![
        ("status", vec![Part::Status(Box::new(status))]),
        (
            "infos",
            vec![Part::PeerInfo(info.clone()), Part::PeerInfo(info)],
        ),
        ("stream", vec![Part::Stream(stream)]),
        ("health", vec![Part::Health(Health::default())]),
        (
            "entries",
            vec![Part::Entry(entry.clone()), Part::Entry(entry)],
        ),
        ("nothing", Vec::new()),
    ]
}

fn texts(out: &mut Vec<Seed>) {
    for variable in VARIABLES {
        let value = match variable.default {
            "" => "1",
            default => default,
        };
        let seed = format!("{}={value}", variable.name);
        add(out, "config_value", variable.name, seed);
    }
    let peer = peer();
    for (name, value) in [
        ("P2P_ALLOW_CIDRS", "192.0.2.0/24, 2001:db8::/32,::1"),
        ("P2P_DENY_CIDRS", "10.0.0.0/8"),
        ("P2P_MAX_MEMORY", "512MiB"),
        ("P2P_MAX_UPLOAD_RATE", "10MB/s"),
        ("P2P_SUBNET_PREFIXES", "24,48"),
        ("RUST_LOG", "info,libp2p_kad=debug/a.*b"),
        ("P2P_BLOCK_TTL", "90m"),
        (
            "P2P_LISTEN_ADDRS",
            "/ip6/::/udp/4001/quic-v1,/ip4/0.0.0.0/tcp/1/ws",
        ),
    ] {
        let seed = format!("{name}={value}");
        add(out, "config_value", &format!("{name}-set"), seed);
    }
    for name in ["P2P_BOOTSTRAP_PEERS", "P2P_TRUSTED_PEERS"] {
        let value = match name {
            "P2P_TRUSTED_PEERS" => peer.to_string(),
            _ => format!("/dnsaddr/x.example/p2p/{peer}"),
        };
        add(
            out,
            "config_value",
            &format!("{name}-set"),
            format!("{name}={value}"),
        );
    }
    // The packaged file is long; its beginning has every kind of line.
    let packaged: String = env_file::render()
        .lines()
        .take(24)
        .map(|l| format!("{l}\n"))
        .collect();
    add(out, "env_file", "packaged", packaged);
    add(
        out,
        "env_file",
        "quoted",
        "A=\"x \\\"y\\\" \"\nB='it \\is'\nC=one\\\ntwo\n; c\n",
    );
    add(out, "env_file", "not-an-assignment", "A=1\n\nnonsense\n");
    add(out, "env_file", "zero-byte", "A=1\nB=\0\n");
    let key = format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", "0a".repeat(32));
    add(out, "network_key", "base16", key.clone());
    add(out, "network_key", "windows", key.replace('\n', " \r\n"));
    add(out, "command_line", "peer", peer.to_string());
    for (n, address) in addresses().iter().enumerate() {
        add(
            out,
            "command_line",
            &format!("address-{n}"),
            address.to_string(),
        );
    }
    add(
        out,
        "command_line",
        "steers",
        "go/1.0 \u{1b}[2J\u{202e}\u{7f}\n",
    );
    let get = "GET /metrics?x=1 HTTP/1.1\r\nHost: localhost:9100\r\nAccept: */*\r\n\r\n";
    add(out, "http_head", "metrics", get);
    add(out, "http_head", "head", "HEAD / HTTP/1.0\r\n\r\n");
    add(
        out,
        "http_head",
        "post",
        "POST /health/live HTTP/1.1\r\nA: b\r\n c\r\n\r\nbody",
    );
    let many: String = (0..70).map(|n| format!("X{n}: {n}\r\n")).collect();
    add(
        out,
        "http_head",
        "many-fields",
        format!("GET / HTTP/1.1\r\n{many}\r\n"),
    );
}

fn transports(out: &mut Vec<Seed>) {
    let peer = peer();
    for (n, address) in addresses().iter().enumerate() {
        add(out, "multiaddr", &format!("text-{n}"), address.to_string());
        add(out, "multiaddr", &format!("binary-{n}"), address.to_vec());
    }
    let odd = Multiaddr::empty()
        .with(Protocol::Dns("a%2Fb".into()))
        .with(Protocol::Memory(7))
        .with(Protocol::Unix("run/x".into()));
    add(out, "multiaddr", "odd", odd.to_vec());
    let list = format!(
        "/dnsaddr/list.example/p2p/{peer}\n\
         dnsaddr=/dnsaddr/host.example/p2p/{peer}\n\
         dnsaddr=/dns4/host.example/tcp/4001/p2p/{peer}\n\
         dnsaddr=/ip4/192.0.2.1/tcp/4001/p2p/{peer}\n\
         dnsaddr=/ip6/2001:db8::1/udp/4001/quic-v1/p2p/{peer}\n192.0.2.7\n2001:db8::7\nnone"
    );
    add(out, "dns", "list", list);
    let chain: String = (0..8)
        .map(|n| format!("dnsaddr=/dnsaddr/n{n}.example\n"))
        .collect();
    add(out, "dns", "chain", format!("/dnsaddr/n0.example\n{chain}"));
    let long = format!(
        "dnsaddr=/ip4/192.0.2.1/tcp/1{}",
        format!("/p2p/{peer}").repeat(12)
    );
    add(
        out,
        "dns",
        "long-record",
        format!("/dnsaddr/a.example\n{long}"),
    );
    add(
        out,
        "dns",
        "host",
        "/dns/host.example/tcp/1/ws\n192.0.2.7\n::1",
    );
}

fn rows(out: &mut Vec<Seed>) {
    let with_key = |key: &[u8], row: Vec<u8>| [&[key.len() as u8], key, &row].concat();
    let addrs = addresses().iter().map(Multiaddr::to_vec).collect();
    let row = wire::PeerRow {
        addrs,
        last_seen: block::PUT,
        rank: 3,
    };
    let seed = with_key(&peer().to_bytes(), row.encode_to_vec());
    add(out, "store_rows", "peer", seed);
    let row = wire::RootRow {
        cid: address::address(b"hello", Codec::DagPb).to_bytes(),
        size: 5,
        blocks: 1,
        pinned: true,
        put_at: block::PUT,
        expires_at: Some(block::PUT + 60_000),
        name: Some("hello.txt".into()),
        used_at: 0,
    };
    add(
        out,
        "store_rows",
        "root",
        with_key(&[], row.encode_to_vec()),
    );
    let hash = address::address(b"hello", Codec::Raw).hash().to_bytes();
    let block = good(b"hello");
    let row = wire::ProvenanceRow {
        timestamp: block.timestamp,
        ttl: block.ttl,
        version: block.version,
        signature: block.signature,
        key: block.key,
    };
    let seed = with_key(&hash, row.encode_to_vec());
    add(out, "store_rows", "provenance", seed);

    let ban = wire::BanRow {
        reason: "replays".into(),
        automatic: true,
        since: block::PUT,
        until: Some(block::PUT + 60_000),
        times: 2,
    };
    for (name, target) in [
        ("ban-peer", peer().to_string()),
        ("ban-net", "192.0.2.0/24".into()),
    ] {
        let seed = with_key(target.as_bytes(), ban.encode_to_vec());
        add(out, "trust_rows", name, seed);
    }
    let row = wire::ReputationRow {
        score: -30.0,
        strikes: 1.0,
        at: block::PUT - 60_000,
    };
    let seed = with_key(&peer().to_bytes(), row.encode_to_vec());
    add(out, "trust_rows", "reputation", seed);
    let mut row = vec![0; 26];
    row[0] = 200;
    row[8] = 0b1011;
    add(out, "trust_rows", "window", with_key(&[5; 16], row));

    let mut file = b"p2pseen1".to_vec();
    for number in [1_u64, 2, 200] {
        let mut record = [5; 32].to_vec();
        record[16..24].copy_from_slice(&number.to_le_bytes());
        record[29..].fill(0);
        let check = Sha256::digest(&record);
        record.extend_from_slice(&check[..8]);
        file.extend(record);
    }
    add(out, "journal", "torn", &file[..file.len() - 7]);
    add(out, "journal", "three", file);
}

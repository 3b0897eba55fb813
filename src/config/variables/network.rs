//! The variables for the network, its DHT and its gossip.

use std::time::Duration;

use super::{optional, put, secs};
use crate::config::Variable;
use crate::config::value::{self, duration, list, number, show_duration, show_list};

/// See the module's documentation.
pub(super) const NETWORK: &[Variable] = &[
    Variable {
        name: "P2P_NETWORK",
        default: "p2p-node",
        derived: "",
        placeholder: "NAME",
        accepts: "1 to 64 characters of a-z, 0-9, dot, underscore and dash",
        help: "Name of the network, which is part of its protocol ids",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.network, value::network_name(t)),
        get: |c| c.network.clone(),
    },
    Variable {
        name: "P2P_KAD_PROTOCOL",
        default: "",
        derived: "/<network>/kad/1.0.0",
        placeholder: "ID",
        accepts: "a protocol id that begins with /, such as /ipfs/kad/1.0.0",
        help: "Protocol id of the DHT; /ipfs/kad/1.0.0 is that of the public IPFS DHT",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.kad_protocol, value::protocol_id(t)),
        get: |c| c.kad_protocol.clone(),
    },
    Variable {
        name: "P2P_DHT_MODE",
        default: "auto",
        derived: "",
        placeholder: "MODE",
        accepts: "auto, server or client",
        help: "Role of this node in the DHT",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.dht_mode, value::dht_mode(t)),
        get: |c| c.dht_mode.to_string(),
    },
    Variable {
        name: "P2P_DHT_MAX_RECORDS",
        default: "65536",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 1 to 16777216",
        help: "Maximum number of DHT records stored for others",
        reloadable: false,
        effective: true,
        set: |c, t| {
            put(
                &mut c.dht_max_records,
                number(t, 1, 1 << 24).map(|n| n as usize),
            )
        },
        get: |c| c.dht_max_records.to_string(),
    },
    Variable {
        name: "P2P_NETWORK_KEY_FILE",
        default: "",
        derived: "",
        placeholder: "FILE",
        accepts: "the path of a file with a pre-shared key (/key/swarm/psk/1.0.0/)",
        help: "Pre-shared key of a private network",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.network_key_file, optional(t, value::path)),
        get: |c| {
            c.network_key_file
                .as_ref()
                .map(|p| p.display().to_string())
                .unwrap_or_default()
        },
    },
    Variable {
        name: "P2P_TOPICS",
        default: "",
        derived: "",
        placeholder: "TOPIC,…",
        accepts: "a list of topic names of at most 256 bytes",
        help: "Gossip topics to join at start",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.topics, list(t, value::topic)),
        get: |c| show_list(&c.topics),
    },
    Variable {
        name: "P2P_GOSSIP_D",
        default: "8",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 3 to 64",
        help: "Desired number of peers in a gossip mesh; its lower and upper bounds are derived from it",
        reloadable: false,
        effective: true,
        // Below 3, a mesh falls apart when one peer leaves; above 64, every message is
        // sent so often that a mesh is no better than flooding.
        set: |c, t| put(&mut c.gossip_d, number(t, 3, 64).map(|n| n as usize)),
        get: |c| c.gossip_d.to_string(),
    },
    Variable {
        name: "P2P_GOSSIP_HEARTBEAT",
        default: "1s",
        derived: "",
        placeholder: "DURATION",
        accepts: "a duration such as 700ms or 1s, from 100ms to 60s",
        help: "Interval of the maintenance of gossip meshes",
        reloadable: false,
        effective: true,
        set: |c, t| {
            put(
                &mut c.gossip_heartbeat,
                duration(t, Duration::from_millis(100), secs(60)),
            )
        },
        get: |c| show_duration(c.gossip_heartbeat),
    },
];

//! The variables for the addresses of a node, and for the peers that it joins.

use super::{SWITCH, YES_OR_NO, optional, put, put_u32};
use crate::config::ENV_FILE;
use crate::config::Variable;
use crate::config::value::{self, boolean, list, number, show_list};

/// See the module's documentation.
pub(super) const JOINING: &[Variable] = &[
    Variable {
        name: ENV_FILE,
        default: "",
        derived: "",
        placeholder: "FILE",
        accepts: "the path of an environment file, preceded by - if the file may be missing",
        help: "File with NAME=VALUE lines, read at start and at reload; the environment and flags take precedence over it",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.env_file, optional(t, value::env_file)),
        get: |c| {
            c.env_file
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default()
        },
    },
    Variable {
        name: "P2P_LISTEN_ADDRS",
        default: "/ip4/0.0.0.0/tcp/4001",
        derived: "",
        placeholder: "ADDR,…",
        accepts: "a list of /ip4/IP or /ip6/IP with /tcp/PORT, /tcp/PORT/ws or /udp/PORT/quic-v1",
        help: "Addresses to listen on",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.listen_addrs, list(t, value::listen_addr)),
        get: |c| show_list(&c.listen_addrs),
    },
    Variable {
        name: "P2P_EXTERNAL_ADDRS",
        default: "",
        derived: "",
        placeholder: "ADDR,…",
        accepts: "a list of multiaddrs that others can dial",
        help: "Addresses to advertise",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.external_addrs, list(t, value::external_addr)),
        get: |c| show_list(&c.external_addrs),
    },
    Variable {
        name: "P2P_BOOTSTRAP_PEERS",
        default: "",
        derived: "",
        placeholder: "ADDR,…",
        accepts: "a list of multiaddrs that end in /p2p/PEER_ID",
        help: "Peers through which to join the network; /dnsaddr is supported",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.bootstrap_peers, list(t, value::peer_address)),
        get: |c| show_list(&c.bootstrap_peers),
    },
    Variable {
        name: "P2P_PEERING",
        default: "",
        derived: "",
        placeholder: "ADDR,…",
        accepts: "a list of multiaddrs that end in /p2p/PEER_ID",
        help: "Peers to stay connected to at all times. They are dialed again without end, and are exempt from the limits on the number and the rate of connections, from the limits on subnets, from refusals for lack of memory or file descriptors, and from the idle timeout. P2P_ALLOW_CIDRS, P2P_DENY_CIDRS and bans do apply to them",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.peering, list(t, value::peer_address)),
        get: |c| show_list(&c.peering),
    },
    Variable {
        name: "P2P_MIN_PEERS",
        default: "8",
        derived: "",
        placeholder: "N",
        accepts: "a whole number from 0 to 1000",
        help: "Number of connections that are kept even when nothing uses them, so that this node stays part of its network; peers that asked to be kept count for at most half of it, and 0 keeps none",
        reloadable: true,
        effective: true,
        // Why eight: with it, 1 node in 15,000 loses all its neighbours when 3 of 10 nodes
        // die at once; with four, 1 in 123 does, and sixteen cost twice as much. See `neighbours`.
        set: |c, t| put_u32(&mut c.min_peers, number(t, 0, 1_000)),
        get: |c| c.min_peers.to_string(),
    },
    Variable {
        name: "P2P_BOOTSTRAP",
        default: "false",
        derived: "",
        placeholder: SWITCH,
        accepts: YES_OR_NO,
        help: "Serve as a bootstrap node: DHT server, relay service, autonat server",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.bootstrap, boolean(t)),
        get: |c| c.bootstrap.to_string(),
    },
];

//! The variables for how nodes find and reach each other.

use super::{SWITCH, YES_OR_NO, put};
use crate::config::Variable;
use crate::config::value::{self, boolean, list, show_list};

/// See the module's documentation.
pub(super) const REACHABILITY: &[Variable] = &[
    Variable {
        name: "P2P_RELAY_SERVER",
        default: "false",
        derived: "",
        placeholder: SWITCH,
        accepts: YES_OR_NO,
        help: "Relay connections for peers that cannot be dialed",
        reloadable: false,
        effective: true,
        set: |c, t| put(&mut c.relay_server, boolean(t)),
        get: |c| c.relay_server.to_string(),
    },
    Variable {
        name: "P2P_RELAYS",
        default: "",
        derived: "",
        placeholder: "ADDR,…",
        accepts: "a list of multiaddrs that end in /p2p/PEER_ID",
        help: "Relays through which this node is reachable",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.relays, list(t, value::peer_address)),
        get: |c| show_list(&c.relays),
    },
    Variable {
        name: "P2P_MDNS",
        default: "false",
        derived: "",
        placeholder: SWITCH,
        accepts: YES_OR_NO,
        help: "Discover peers on the local network",
        reloadable: false,
        effective: false,
        set: |c, t| put(&mut c.mdns, boolean(t)),
        get: |c| c.mdns.to_string(),
    },
];

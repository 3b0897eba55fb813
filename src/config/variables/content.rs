//! The variables for the blocks of content.

use super::{LONGEST, put, secs};
use crate::config::Variable;
use crate::config::value::{duration, show_duration, show_size, size};

/// See the module's documentation.
pub(super) const CONTENT: &[Variable] = &[
    Variable {
        name: "P2P_STORE_MAX_BYTES",
        default: "10GiB",
        derived: "",
        placeholder: "SIZE",
        accepts: "a size such as 512MiB or 10GiB, from 1MiB",
        help: "Maximum size of the block store",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.store_max_bytes, size(t, 1 << 20, u64::MAX)),
        get: |c| show_size(c.store_max_bytes),
    },
    Variable {
        name: "P2P_BLOCK_TTL",
        default: "24h",
        derived: "",
        placeholder: "DURATION",
        accepts: "a duration such as 30s, 10m, 24h or 7d, from 1s to 3650d",
        help: "Time to live of blocks that are put on this node, unless `put --ttl` sets another",
        reloadable: true,
        effective: true,
        set: |c, t| put(&mut c.block_ttl, duration(t, secs(1), LONGEST)),
        get: |c| show_duration(c.block_ttl),
    },
    Variable {
        name: "P2P_MAX_BLOCK_BYTES",
        default: "2MiB",
        derived: "",
        placeholder: "SIZE",
        accepts: "a size such as 2MiB, from 1MiB to 16MiB",
        help: "Maximum size of a block; larger blocks are refused, also from the network",
        reloadable: false,
        effective: true,
        // Files are cut into chunks of 1 MiB. Several blocks are in flight with every
        // peer, so each of them must be a small fraction of memory.
        set: |c, t| {
            put(
                &mut c.max_block_bytes,
                size(t, 1 << 20, 16 << 20).map(|n| n as usize),
            )
        },
        get: |c| show_size(c.max_block_bytes as u64),
    },
];

//! Peers that speak real libp2p and misbehave. Each attacks a daemon with its default
//! limits, while the test measures whether messages and transfers of well-behaved peers
//! through that daemon continue.
//!
//! | file | noun |
//! |---|---|
//! | `peer` | a libp2p peer made by hand, that does only what it is told |
//! | `wire` | the messages of each protocol, to fill in as one likes |
//! | `process` | the attacker's own process: bounded in time, of low priority, in a namespace where addresses matter |
//! | `victim` | the daemon that is attacked, and its memory |
//! | `honest` | daemons whose messages and files go through the victim, and how many arrive |
//! | `bout` | one attack: before, during, after |
//! | `report` | a row of the table |
//! | `attacks` | one file an attack: what it does, and what must hold |
//!
//! `README.md` beside this has the table. Attackers run at low priority: what is
//! measured is the daemon's defence and not how two cores are shared.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod attacks;
mod bout;
#[path = "../common/mod.rs"]
mod common;
mod honest;
#[path = "../common/lan.rs"]
mod lan;
mod peer;
mod process;
mod report;
mod victim;
mod wire;

//! The binary as a user runs it: exit codes, one line on standard error, clean
//! standard output, and no half-written file.
//!
//! `offline` needs no daemon, `scripted` imitates one with scripted answers, which can
//! die or hang at exactly the wrong moment, and `daemon` starts real ones.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bans;
#[path = "../common/mod.rs"]
mod common;
mod daemon;
mod diag;
mod environment;
mod offline;
mod scripted;
mod support;

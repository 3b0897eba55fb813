//! Networks of a realistic size on one host: dozens of daemons as users run them, which
//! joined through one bootstrap node.
//!
//! | file | what must work |
//! |---|---|
//! | `life` | 60 daemons: files and messages between random ones, also when many die at once and the bootstrap node never comes back |
//! | `many` | in the same network: files that one daemon puts with one command are announced to enough nodes that all others find them, also when many die |
//! | `bystanders` | a file is found among connected peers that do not have it |
//! | `lines` | messages of a publisher that is not subscribed arrive for as long as it publishes |
//! | `absence` | subscribers that were stopped or cut off receive each other's messages again |
//! | `strangers` | subscribers find each other although none of their peers is on the topic |
//!
//! `NODE_UNDER_TEST=PATH` runs all of it against another build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/crowd/mod.rs"]
mod crowd;
#[path = "../common/lan.rs"]
mod lan;

mod absence;
mod bystanders;
mod files;
mod life;
mod lines;
mod many;
mod strangers;
mod words;

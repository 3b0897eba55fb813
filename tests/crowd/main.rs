//! Networks of real size for one host: dozens of daemons as users run them, which
//! entered through one bootstrap node.
//!
//! | file | what must work |
//! |---|---|
//! | `life` | 60 daemons: files and messages between random ones, also when many die at once and the bootstrap node is gone for good |
//! | `many` | there too: files that one puts with one command are announced to enough nodes that everybody finds them, also when many die |
//! | `bystanders` | a file is found among connected peers that do not have it |
//! | `lines` | a publisher that is not subscribed is heard for as long as it speaks |
//! | `absence` | subscribers that were stopped or cut off hear each other again |
//! | `strangers` | subscribers find each other though no peer of theirs is on the topic |
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

//! The harness: daemons as a user runs them, for tests and benches alike. They are
//! real processes, started with variables, asked through the command line, the
//! control socket and the HTTP port, and ended by signals.
//!
//! It is a module that each test program includes, not a crate: only an integration
//! test or a bench is told by cargo where the program under test is, and a crate
//! would have to be built before any of them.
//!
//! | file | noun |
//! |---|---|
//! | `daemon` | a daemon that runs |
//! | `process` | a process that ends with the test |
//! | `http` | its HTTP port: pages and metrics |
//! | `wait` | waiting until something holds |
//! | `address` | addresses to listen on, and one where nobody listens |
//! | `noise` | files that do not compress |
//!
//! Included by those that need them, because they need more:
//!
//! | file | noun |
//! |---|---|
//! | `ear.rs` | a program that subscribes to a topic |
//! | `lan.rs` | hosts in network namespaces |
//! | `forms.rs` | the log in each of its forms |
//! | `local.rs` | nodes in the test's own process |
//! | `crowd/` | many daemons, asked over their control sockets |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]
#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]

mod address;
mod daemon;
pub(crate) mod http;
mod noise;
mod process;
mod wait;

pub(crate) use address::{Closed, own_address, own_socket};
pub(crate) use daemon::{Daemon, FOR_A_NODE, PROGRAM, Start, bare_command, program};
pub(crate) use http::Scrape;
pub(crate) use noise::{noise, same_bytes, write_noise};
pub(crate) use process::Process;
use wait::pause;
pub(crate) use wait::{DEADLINE, eventually, eventually_async, until};

//! What others see of real daemons: every metric changes and is correct, the log in each
//! format, and the status page as a browser shows it.
//!
//! | file | noun |
//! |---|---|
//! | `stranger` | a peer that calls itself hostile things by real identify |
//! | `metrics` | values after things were done; promtool's lint (`PROMTOOL=required`) |
//! | `scrapers` | fifty scrapers, slow and dead ones among them |
//! | `logs` | each form of the log, with panics |
//! | `page` | the page in headless Chromium; run by `tests/page/run` |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/forms.rs"]
mod forms;
mod logs;
mod metrics;
mod page;
mod scrapers;
mod stranger;

//! The parts of the node that browsers and scrapers see over HTTP.
//!
//! | file | noun |
//! |---|---|
//! | [`metrics`] | the metrics of all modules, registered together |
//! | [`last_hour`] | the last hour, for the status page |
//! | [`http`] | `/metrics`, `/health/…` and the page for people |

pub mod http;
pub mod last_hour;
pub mod metrics;

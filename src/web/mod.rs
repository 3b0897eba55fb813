//! What browsers and scrapers see of the node, over HTTP.
//!
//! | file | noun |
//! |---|---|
//! | [`metrics`] | the metrics of all rooms, registered together |
//! | [`last_hour`] | the last hour, for the status page |
//! | [`http`] | `/metrics`, `/health/…` and the page for people |

pub mod http;
pub mod last_hour;
pub mod metrics;

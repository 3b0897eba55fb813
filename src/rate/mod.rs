//! Limits how often, or how much of, something may happen.
//!
//! | file | noun |
//! |---|---|
//! | `bucket` | [`Bucket`], a token bucket: a level that rises up to a maximum |
//! | `pace` | [`Pace`], a budget of events: a burst, and a number per second |
//!
//! Nothing here reads a clock; the time is an argument.
//!
//! Two limits of the program look similar but are not here. The buckets of subnets
//! (`peers::rate`) count in 32-bit floats, since thousands of them are in a table of
//! fixed size. The throttle of log lines (`telemetry::throttle`) has no level: it lets
//! one line through in each interval and counts the others.

mod bucket;
mod pace;

pub(crate) use bucket::{Bucket, Capacity};
pub(crate) use pace::Pace;

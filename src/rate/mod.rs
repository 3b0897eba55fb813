//! How often, or how much, something may happen.
//!
//! | file | noun |
//! |---|---|
//! | `bucket` | [`Bucket`], the token bucket: a level that rises with time up to what the bucket holds |
//! | `pace` | [`Pace`], a budget of events: so many at once, and so many a second for long |
//!
//! Nothing here reads a clock: time comes as an argument.
//!
//! Two limits of the program look similar and are not here. The buckets of subnets
//! (`peers::rate`) count in 32-bit floats, since thousands of them lie in a table of fixed
//! size. The throttle of log lines (`telemetry::throttle`) has no level: it lets one line
//! through in each interval and counts the others.

mod bucket;
mod pace;

pub(crate) use bucket::{Bucket, Capacity};
pub(crate) use pace::Pace;

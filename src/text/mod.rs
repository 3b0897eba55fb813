//! Writes sizes, times and text that strangers chose, for people and on wires.
//!
//! Everything here is a plain function of its arguments, so that any module may use it.
//!
//! | file | holds |
//! |---|---|
//! | [`count`] | numbers of things, for people |
//! | [`duration`] | lengths of time, for people and in milliseconds |
//! | [`foreign`] | makes text that a remote chose safe for terminals and logs |
//! | [`size`] | bytes, and bytes per second, for people |
//! | [`unix_time`] | points in time as milliseconds since 1970 |

pub mod count;
pub mod duration;
pub mod foreign;
pub mod size;
pub mod unix_time;

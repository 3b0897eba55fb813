//! How sizes, times and the text of strangers are written, for people and on wires.
//!
//! Everything here is a plain function of its arguments, so that any room may use it.
//!
//! | file | holds |
//! |---|---|
//! | [`count`] | numbers of things, for people |
//! | [`duration`] | a length of time, for people and in milliseconds |
//! | [`foreign`] | text that a remote chose, made safe for terminals and logs |
//! | [`size`] | bytes, and bytes a second, for people |
//! | [`unix_time`] | points in time as milliseconds since 1970 |

pub mod count;
pub mod duration;
pub mod foreign;
pub mod size;
pub mod unix_time;

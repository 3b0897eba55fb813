//! (room under construction)

pub mod dns;

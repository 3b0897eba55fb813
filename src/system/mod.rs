//! What the program asks of the kernel and the service manager, and their answers.

pub(crate) mod advice;
pub mod allocator;
pub mod environment;
#[cfg(feature = "fault-injection")]
pub mod faults;
pub mod manager;
pub mod memory;
pub mod moment;
pub mod notify;
pub(crate) mod pool;
pub mod resources;
pub mod rlimits;
pub mod signals;
pub mod sockets;
pub mod usage;
pub mod watchdog;

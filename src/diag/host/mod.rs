//! The checks that need no daemon: whether there is one, and if not, what prevents it
//! from starting.
//!
//! | file | what is checked |
//! |---|---|
//! | `socket` | whether there is a daemon behind the control socket |
//! | `unit` | the unit according to systemd |
//! | `configuration` | the configuration and its file |
//! | `folder` | the data folder |
//! | `port` | the ports |
//! | `disk` | the room on the disk |

mod configuration;
mod disk;
mod folder;
mod port;
mod socket;
mod unit;

pub use configuration::{configuration, no_file};
pub use disk::disk;
pub use folder::{Folder, folder};
pub use port::{Port, ports};
pub use socket::{Socket, daemon};
pub use unit::{Unit, unit};

//! The table of all variables of the configuration, in the order in which people read
//! them.
//!
//! | file | the variables for |
//! |---|---|
//! | `joining` | the environment file, the node's addresses, and the peers that it joins |
//! | `limits` | connections, streams, memory and rates, and who is exempt |
//! | `network` | the network, its DHT and its gossip |
//! | `content` | the blocks of content |
//! | `reachability` | how nodes find and reach each other |
//! | `process` | the process on its host: its server, socket, folders and log |

mod content;
mod joining;
mod limits;
mod network;
mod process;
mod reachability;

use std::time::Duration;

use super::Variable;
use super::value::Parsed;

/// Every variable, in the order in which people read them.
pub static VARIABLES: &[Variable] = &JOINED;

/// The files of the table, in its order.
const GROUPS: [&[Variable]; 6] = [
    joining::JOINING,
    limits::LIMITS,
    network::NETWORK,
    content::CONTENT,
    reachability::REACHABILITY,
    process::PROCESS,
];

/// The variables of all files. They are joined by the compiler, so that the others see
/// one slice.
static JOINED: [Variable; count()] = {
    let mut all = [GROUPS[0][0]; count()];
    let (mut group, mut next) = (0, 0);
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            all[next] = GROUPS[group][row];
            next += 1;
            row += 1;
        }
        group += 1;
    }
    all
};

const fn count() -> usize {
    let (mut group, mut count) = (0, 0);
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
}

/// The placeholder for the value of a boolean.
pub(super) const SWITCH: &str = "BOOL";

const YES_OR_NO: &str = "true, false, 1, 0, yes or no";

/// The largest number of connections. More connections than a process can have file
/// descriptors for are a mistake, and the limit of the kernel (`fs.nr_open`) is a
/// million.
const MOST_CONNECTIONS: u64 = 1_000_000;

/// The longest duration: ten years. More is a mistake, and seconds have to fit into 32
/// bits in messages.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

fn put<T>(place: &mut T, value: Parsed<T>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

fn put_u32(place: &mut u32, value: Parsed<u64>) -> Result<(), String> {
    *place = u32::try_from(value?).map_err(|_| "the number is too large".to_owned())?;
    Ok(())
}

fn optional<T>(text: &str, parse: impl Fn(&str) -> Parsed<T>) -> Parsed<Option<T>> {
    if text.is_empty() {
        Ok(None)
    } else {
        parse(text).map(Some)
    }
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

//! What this process uses of the machine.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use p2p_node::system::allocator;

use crate::Result;

/// CPU time used so far, in the program and in the kernel for it.
pub(crate) fn cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() * 1_000_000 + time.tv_usec())
        .sum::<i64>();
    Ok(Duration::from_micros(micros.try_into()?))
}

/// Bytes of anonymous memory that are resident, after the heap has given back what
/// it does not use.
pub(crate) fn memory() -> Result<u64> {
    allocator::give_back();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib
        .ok_or("no RssAnon in /proc/self/status")?
        .parse::<u64>()?
        * 1024)
}

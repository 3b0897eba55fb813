//! Which process holds a port of this host, for the error that says that it is in use.
//!
//! The answer comes from `/proc` and may be incomplete: the process is visible to root
//! and to the same user, and of other users' processes only the user id is.

use std::fs;
use std::net::SocketAddr;

/// Describes the holder of a listening socket that prevents listening on `address`, such as `process 812 (ipfs)`.
pub(crate) fn of_listener(address: SocketAddr) -> Option<String> {
    of_socket(
        ["/proc/self/net/tcp", "/proc/self/net/tcp6"],
        LISTEN,
        address.port(),
    )
}

/// The same of a UDP socket.
pub(crate) fn of_datagrams(address: SocketAddr) -> Option<String> {
    of_socket(
        ["/proc/self/net/udp", "/proc/self/net/udp6"],
        UNCONNECTED,
        address.port(),
    )
}

/// States of sockets as `/proc` writes them.
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";

fn of_socket(tables: [&str; 2], state: &str, port: u16) -> Option<String> {
    let (inode, uid) = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| find(&table, state, port))?;
    Some(process_with_socket(inode).unwrap_or_else(|| format!("a process of user id {uid}")))
}

/// The inode and user id of the socket in state `wanted` on `port`, from a table
/// in the format of `/proc/net/tcp` (proc(5)).
fn find(table: &str, wanted: &str, port: u16) -> Option<(u64, u32)> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let uid = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        let listening = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (state == wanted && listening == port).then_some((inode, uid))
    })
}

fn process_with_socket(inode: u64) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(entry.path().join("fd"))
            .ok()?
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()));
        if !holds {
            return None;
        }
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        Some(format!("process {pid} ({})", name.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_kernel_is_understood() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:0FA1 0100007F:1234 01 00000000:00000000 00:00000000 00000000  1000        0 1111 1 0 20 4\n\
            1: 0100007F:0FA1 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 2222 1 0 100 0\n";
        assert_eq!(find(table, LISTEN, 4001), Some((2222, 1001)));
        assert_eq!(find(table, LISTEN, 4002), None);
        assert_eq!(find("nonsense\nmore nonsense", LISTEN, 1), None);
    }

    #[test]
    fn this_process_is_found_by_its_listener() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let owner = of_listener(listener.local_addr().unwrap()).unwrap();
        assert!(owner.contains(&std::process::id().to_string()), "{owner}");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let owner = of_datagrams(socket.local_addr().unwrap()).unwrap();
        assert!(owner.contains(&std::process::id().to_string()), "{owner}");
    }
}

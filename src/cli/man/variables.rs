//! p2p-node.env(5): every variable, taken from the table.

use super::mdoc::{Page, argument};
use crate::config::{VARIABLES, Variable};

/// The first variable of each group. The variables that follow it in the table belong to
/// the same group, so that a new row needs no change here.
const GROUPS: &[(&str, &str)] = &[
    ("P2P_ENV_FILE", "The file itself"),
    ("P2P_LISTEN_ADDRS", "Addresses and bootstrap"),
    ("P2P_MAX_CONNECTIONS", "Limits of connections"),
    ("P2P_TRUSTED_PEERS", "Who may connect"),
    ("P2P_MAX_UPLOAD_RATE", "Bandwidth and budgets of peers"),
    ("P2P_NETWORK", "Network and DHT"),
    ("P2P_TOPICS", "Gossip"),
    ("P2P_STORE_MAX_BYTES", "Store"),
    ("P2P_RELAY_SERVER", "Relays and discovery"),
    ("P2P_METRICS_HOST", "Service, files and logs"),
];

/// An example value for each variable.
const EXAMPLES: &[(&str, &str)] = &[
    ("P2P_ENV_FILE", "-/etc/p2p-node/p2p-node.env"),
    (
        "P2P_LISTEN_ADDRS",
        "/ip4/0.0.0.0/tcp/4001,/ip4/0.0.0.0/udp/4001/quic-v1",
    ),
    (
        "P2P_EXTERNAL_ADDRS",
        "/dns4/node.example.org/tcp/4001,/ip4/192.0.2.7/udp/4001/quic-v1",
    ),
    (
        "P2P_BOOTSTRAP_PEERS",
        "/dns4/door.example.org/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
    ),
    (
        "P2P_PEERING",
        "/dns4/friend.example.org/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
    ),
    ("P2P_MIN_PEERS", "12"),
    ("P2P_BOOTSTRAP", "true"),
    ("P2P_MAX_CONNECTIONS", "1000"),
    ("P2P_MAX_INBOUND_CONNECTIONS", "300"),
    ("P2P_MAX_OUTBOUND_CONNECTIONS", "100"),
    ("P2P_MAX_CONNECTIONS_PER_PEER", "2"),
    ("P2P_MAX_CONNECTIONS_PER_SUBNET", "256"),
    ("P2P_MAX_INBOUND_RATE", "200"),
    ("P2P_MAX_INBOUND_RATE_PER_SUBNET", "50"),
    ("P2P_SUBNET_PREFIXES", "24,48"),
    ("P2P_MAX_INBOUND_STREAMS", "512"),
    ("P2P_MAX_OUTBOUND_STREAMS", "512"),
    ("P2P_CONNECTION_IDLE_TIMEOUT", "2m"),
    ("P2P_STREAM_IDLE_TIMEOUT", "5m"),
    ("P2P_MAX_MEMORY", "512MiB"),
    (
        "P2P_TRUSTED_PEERS",
        "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
    ),
    ("P2P_ALLOW_CIDRS", "10.0.0.0/8,2001:db8::/32"),
    ("P2P_DENY_CIDRS", "198.51.100.0/24"),
    ("P2P_MAX_UPLOAD_RATE", "10MiB"),
    ("P2P_MAX_DOWNLOAD_RATE", "50MiB"),
    ("P2P_RATE_BURST", "1000"),
    ("P2P_RATE_FILL", "500"),
    ("P2P_RATE_BYTES_BURST", "32MiB"),
    ("P2P_RATE_BYTES_FILL", "8MiB"),
    ("P2P_NETWORK", "example.org"),
    ("P2P_KAD_PROTOCOL", "/ipfs/kad/1.0.0"),
    ("P2P_DHT_MODE", "server"),
    ("P2P_DHT_MAX_RECORDS", "1000000"),
    ("P2P_NETWORK_KEY_FILE", "/etc/p2p-node/swarm.key"),
    ("P2P_TOPICS", "/p2p-node/chat,weblog"),
    ("P2P_GOSSIP_D", "6"),
    ("P2P_GOSSIP_HEARTBEAT", "700ms"),
    ("P2P_STORE_MAX_BYTES", "200GiB"),
    ("P2P_BLOCK_TTL", "30d"),
    ("P2P_MAX_BLOCK_BYTES", "4MiB"),
    ("P2P_RELAY_SERVER", "true"),
    (
        "P2P_RELAYS",
        "/dns4/door.example.org/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
    ),
    ("P2P_MDNS", "true"),
    ("P2P_METRICS_HOST", "0.0.0.0"),
    ("P2P_METRICS_PORT", "9464"),
    ("P2P_CONTROL_SOCKET", "/run/p2p-node/control.sock"),
    ("P2P_DATA_DIR", "/srv/p2p-node"),
    ("P2P_DRAIN_TIMEOUT", "30s"),
    ("P2P_LOG_FORMAT", "json"),
    ("RUST_LOG", "info,p2p_node::node=debug"),
];

/// Returns the page.
pub(super) fn page() -> String {
    let mut page = Page::new(super::MADE, "p2p-node.env", 5, "configuration of p2p-node");
    page.heading("SYNOPSIS");
    page.raw(".Pa /etc/p2p\\-node/p2p\\-node.env");
    page.heading("DESCRIPTION");
    page.prose(
        "p2p-node(1) is configured with variables. The service reads them from \
         `/etc/p2p-node/p2p-node.env`. A variable that is not set there has its default value. A \
         variable in the environment takes precedence over the file, and the corresponding flag \
         of `p2p-node run` takes precedence over both.\n\n\
         If a value cannot be parsed, or a variable begins with `P2P_` and is not on this page, \
         the daemon does not start. It exits with status 78 and prints one line with the \
         variable, the value and what is accepted. To check a file before it is used:",
    );
    page.literal(&["p2p-node config check --env-file /etc/p2p-node/p2p-node.env"]);
    page.prose("To see every value in force and where it comes from:");
    page.literal(&["p2p-node config show --env-file /etc/p2p-node/p2p-node.env"]);
    page.subheading("The file");
    page.prose(
        "The file has one `NAME=VALUE` per line, in the syntax of EnvironmentFile= in \
         systemd.exec(5): blank lines and lines that begin with `#` or `;` are ignored, a \
         backslash at the end of a line continues it, and a value may be enclosed in single or \
         double quotes. Any other line that is not an assignment is an error.",
    );
    page.subheading("Values");
    page.raw(".Bl -tag -width Ds");
    for (what, words) in [
        ("lists", "Separated by commas: `10.0.0.0/8,192.0.2.0/24`."),
        (
            "durations",
            "A whole number and its unit: `500ms`, `30s`, `10m`, `24h`, `7d`.",
        ),
        (
            "sizes",
            "A whole number and its unit: `64KiB`, `512MiB`, `10GiB`. Rates are sizes per second.",
        ),
        ("yes or no", "`true`, `1` or `yes`; `false`, `0` or `no`."),
        (
            "addresses",
            "Multiaddrs, such as `/ip4/192.0.2.7/tcp/4001`, \
             `/ip6/2001:db8::7/udp/4001/quic-v1`, or `/dns4/node.example.org/tcp/4001/p2p/` and \
             a peer id.",
        ),
    ] {
        page.raw(&format!(".It {what}"));
        page.prose(words);
    }
    page.raw(".El");
    page.subheading("Reload");
    page.prose(
        "The description of each variable says whether a reload applies a change of it. A reload \
         reads the file again, applies the changes that it can and lists those that need a \
         restart. If the file contains an error, a reload changes nothing.",
    );
    page.heading("VARIABLES");
    for (at, variable) in VARIABLES.iter().enumerate() {
        if let Some((_, title)) = GROUPS.iter().find(|(first, _)| *first == variable.name) {
            if at > 0 {
                page.raw(".El");
            }
            page.subheading(title);
            page.raw(".Bl -tag -width Ds");
        }
        describe(&mut page, variable);
    }
    page.raw(".El");
    page.heading("FILES");
    page.raw(".Bl -tag -width Ds");
    page.raw(".It Pa /etc/p2p\\-node/p2p\\-node.env");
    page.prose(
        "Contains every variable as a comment with its default, and the addresses on which the \
         packages listen: TCP and QUIC, IPv4 and IPv6. Upgrades keep a changed file.",
    );
    page.raw(".El");
    page.heading("EXAMPLES");
    page.prose("A node through which others join the network:");
    page.literal(&[
        "P2P_LISTEN_ADDRS=/ip4/0.0.0.0/tcp/4001,/ip4/0.0.0.0/udp/4001/quic-v1",
        "P2P_EXTERNAL_ADDRS=/dns4/door.example.org/tcp/4001",
        "P2P_BOOTSTRAP=true",
        "P2P_MAX_CONNECTIONS=2000",
    ]);
    page.prose("A node that joins through it, with limits on bandwidth, memory and storage:");
    page.literal(&[
        "P2P_BOOTSTRAP_PEERS=/dns4/door.example.org/tcp/4001/p2p/12D3KooW...",
        "P2P_MAX_UPLOAD_RATE=5MiB",
        "P2P_MAX_MEMORY=256MiB",
        "P2P_STORE_MAX_BYTES=50GiB",
    ]);
    page.heading("SEE ALSO");
    page.raw(".Xr p2p-node 1 ,");
    page.raw(".Xr systemd.exec 5 ,");
    page.raw(".Xr p2p-node.service 8");
    page.finish()
}

fn describe(page: &mut Page, variable: &Variable) {
    let value = variable.placeholder.replace(",…", " , ...");
    page.raw(&format!(".It Ev {} Ns = Ns Ar {value}", variable.name));
    page.prose(&format!("{}.", variable.help));
    if !variable.effective {
        page.prose("This version checks the value but does not use it.");
    }
    page.raw(".Pp");
    page.raw(".Bl -tag -width \"Example:\" -compact");
    row(page, "Accepts:", &format!("{}.", variable.accepts));
    match (variable.default, variable.derived) {
        ("", "") => row(page, "Default:", "none."),
        ("", derived) => row(page, "Default:", &format!("{derived}.")),
        (default, _) => {
            page.raw(".It Default:");
            page.raw(&format!(".Li {} .", argument(default)));
        }
    }
    row(
        page,
        "Reload:",
        match variable.reloadable {
            true => "applies a change.",
            false => "a change needs a restart.",
        },
    );
    row(page, "Flag:", &format!("`--{}`.", variable.flag()));
    if let Some((_, value)) = EXAMPLES.iter().find(|(name, _)| *name == variable.name) {
        page.raw(".It Example:");
        page.raw(&format!(
            ".Li {}",
            argument(&format!("{}={value}", variable.name))
        ));
    }
    page.raw(".El");
}

fn row(page: &mut Page, head: &str, words: &str) {
    page.raw(&format!(".It {head}"));
    page.prose(words);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, Flags};

    #[test]
    fn groups_and_examples_are_of_variables_that_exist() {
        assert_eq!(GROUPS[0].0, VARIABLES[0].name, "the first has no heading");
        for (name, _) in GROUPS {
            assert!(Variable::find(name).is_some(), "{name} is no variable");
        }
        let mut with: Vec<_> = EXAMPLES.iter().map(|(name, _)| *name).collect();
        let mut all: Vec<_> = VARIABLES.iter().map(|v| v.name).collect();
        with.sort_unstable();
        all.sort_unstable();
        assert_eq!(with, all, "EXAMPLES has to follow the table of variables");
    }

    /// An example that equals the default shows the reader nothing, and one that the
    /// program refuses is wrong.
    #[test]
    fn every_example_is_accepted_and_changes_something() {
        for (name, value) in EXAMPLES {
            let mut env: Environment = [
                ((*name).into(), (*value).into()),
                ("HOME".into(), "/home/x".into()),
            ]
            .into();
            if *name == "P2P_MAX_BLOCK_BYTES" {
                env.insert("P2P_STORE_MAX_BYTES".into(), "1GiB".into());
            }
            if let Err(why) = Config::from_env_map(&env, &Flags::new()) {
                panic!("{name}={value}: {why}");
            }
            let default = Variable::find(name).unwrap().default;
            assert_ne!(*value, default, "{name}");
        }
    }
}

//! Longer descriptions and examples of the commands, shown in their help and in the
//! manual page.
//!
//! In the descriptions, backticks mark text that the reader types literally.

/// A group of commands that belong together.
pub(super) struct Chapter {
    pub(super) title: &'static str,
    pub(super) entries: &'static [Entry],
}

/// The description of a command.
pub(super) struct Entry {
    /// Its name, preceded by that of its parent command: `dht put`.
    pub(super) command: &'static str,
    /// Paragraphs, separated by blank lines; empty when the one-line help is enough.
    pub(super) words: &'static str,
    pub(super) examples: &'static [Example],
}

/// A command line for a shell, and what it does.
pub(super) struct Example {
    pub(super) line: &'static str,
    pub(super) does: &'static str,
}

const fn example(line: &'static str, does: &'static str) -> Example {
    Example { line, does }
}

/// All commands, in the order in which people read about them.
pub(super) static MANUAL: &[Chapter] = &[
    Chapter {
        title: "The daemon",
        entries: &[
            Entry {
                command: "run",
                words: "`p2p-node` without a command does the same. The daemon is configured with \
                    environment variables. Each flag below corresponds to one of them and takes \
                    precedence over it; p2p-node.env(5) describes them.\n\n\
                    SIGTERM and SIGINT stop the daemon: it lets running work finish for at most \
                    P2P_DRAIN_TIMEOUT, saves its state and closes its connections. A second signal \
                    ends the wait at once.",
                examples: &[
                    example(
                        "p2p-node run",
                        "Run with the configuration in the environment.",
                    ),
                    example(
                        "p2p-node run --data-dir ~/node --metrics-port 0 --listen-addrs /ip4/0.0.0.0/udp/4001/quic-v1",
                        "Run a second node next to the one of the system, with its own data and on QUIC.",
                    ),
                ],
            },
            Entry {
                command: "reload",
                words: "The daemon reads the file in P2P_ENV_FILE again and checks all of it. If \
                    the file contains a mistake, nothing changes and the exit code is 78. Changes \
                    that can be made at run time are in force when this command ends, and those \
                    that need a restart are listed. Connections that the new lists of addresses \
                    forbid are closed. Connections above a lowered limit stay open, and no new ones \
                    are accepted until there is room. `systemctl reload p2p-node` and SIGHUP do the \
                    same.",
                examples: &[example(
                    "p2p-node reload",
                    "Apply the changes in the environment file.",
                )],
            },
            Entry {
                command: "health",
                words: "This is for health checks in containers and scripts. When the node is not \
                    ready, the command prints the reason.",
                examples: &[example(
                    "until p2p-node health -q; do sleep 1; done",
                    "Wait until the node is ready.",
                )],
            },
        ],
    },
    Chapter {
        title: "Looking at the node",
        entries: &[
            Entry {
                command: "status",
                words: "It shows the identity, uptime, addresses, peers, DHT, gossip meshes, \
                    store, announcements, NAT, bans and memory, and how much of each limit is \
                    used.",
                examples: &[
                    example(
                        "p2p-node status --watch",
                        "Update the display every two seconds.",
                    ),
                    example(
                        "p2p-node status --json | jq .peers",
                        "Print the number of connected peers.",
                    ),
                ],
            },
            Entry {
                command: "id",
                words: "",
                examples: &[
                    example("p2p-node id", "Show the peer id and the addresses."),
                    example(
                        "p2p-node id --json | jq -r '.addresses[0]'",
                        "Print an address for the P2P_BOOTSTRAP_PEERS of another node.",
                    ),
                ],
            },
            Entry {
                command: "peers",
                words: "For each peer it shows the direction, transport and age of its connections, \
                    the last ping, its streams, reputation and agent, and why a connection with it \
                    is kept even when nothing uses it: floor (it counts towards P2P_MIN_PEERS), \
                    peering (it is in P2P_PEERING), publishing (this host recently published \
                    messages to it), topic (it is on a topic of this node), asked (the peer asked \
                    for it). A connection that is not kept for any of these reasons is closed when \
                    it has been idle for P2P_CONNECTION_IDLE_TIMEOUT.",
                examples: &[
                    example(
                        "p2p-node peers --json | jq -r '.[] | select(.reputation < 0) | .peer_id'",
                        "Print the peers that have misbehaved.",
                    ),
                    example(
                        "p2p-node peers --json | jq -r '.[] | select(.kept_for == []) | .peer_id'",
                        "Print the peers whose connections are closed when they are idle.",
                    ),
                ],
            },
        ],
    },
    Chapter {
        title: "When something is wrong",
        entries: &[Entry {
            command: "diag",
            words: "The result of each check is ok, a note, a warning or a problem, with what was \
                found and what to do about it. \"Lately\" means within the last five minutes. The \
                thresholds are those of the alert rules for Prometheus. The command dials the \
                bootstrap peers to which no connection is open, to see whether they answer.\n\n\
                When no daemon is running, the command says what keeps one from starting: it checks \
                the unit, the configuration, the data folder, ports and disk. The exit code is 0 \
                when there is no problem, 1 when there is one, and 69, after the report, when there \
                is no daemon.\n\n\
                With --bundle, the command writes everything that it has found into one text file \
                for a bug report instead, and exits with 0 when the file is written. The file \
                contains the findings, the status, the configuration, the metrics, the platform and \
                the last lines of the log. It is text, so that you can read it before you send it. \
                It contains no keys, and numbers replace peer ids, addresses and host names unless \
                --with-peers is given. An existing file is never overwritten.",
            examples: &[
                example("p2p-node diag -q", "Print only what needs attention."),
                example(
                    "p2p-node diag --json | jq .figures.dht_query_p99",
                    "Print how long DHT queries take.",
                ),
                example(
                    "p2p-node diag --bundle report.txt",
                    "Write a file for a bug report.",
                ),
            ],
        }],
    },
    Chapter {
        title: "Peers",
        entries: &[
            Entry {
                command: "connect",
                words: "The command succeeds when the peer has identified itself. A peer that \
                    refuses this node, because it has banned it or is full, closes the connection \
                    before that, and the command fails.",
                examples: &[
                    example(
                        "p2p-node connect /ip4/192.0.2.7/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                        "Connect to a peer at an address, and accept no other peer there.",
                    ),
                    example(
                        "p2p-node connect 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                        "Find the addresses of a peer in the DHT, and connect.",
                    ),
                ],
            },
            Entry {
                command: "disconnect",
                words: "The peer may connect again; `ban` prevents that.",
                examples: &[example(
                    "p2p-node disconnect 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                    "Close all connections with a peer.",
                )],
            },
            Entry {
                command: "ban",
                words: "Connections are closed at once and new ones are refused, in both \
                    directions, also after a restart. An operator's ban applies to \
                    P2P_TRUSTED_PEERS too. The node itself bans peers that keep misbehaving, for \
                    ten minutes at first.",
                examples: &[
                    example(
                        "p2p-node ban 192.0.2.0/24 --for 1h --reason 'port scans'",
                        "Refuse a network for an hour.",
                    ),
                    example(
                        "p2p-node ban 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                        "Refuse a peer until the ban is lifted.",
                    ),
                ],
            },
            Entry {
                command: "unban",
                words: "",
                examples: &[example("p2p-node unban 192.0.2.0/24", "Lift a ban.")],
            },
            Entry {
                command: "bans",
                words: "For each ban it shows who set it, why, and when it ends.",
                examples: &[example(
                    "p2p-node bans -q | xargs -r p2p-node unban",
                    "Lift all bans.",
                )],
            },
        ],
    },
    Chapter {
        title: "Content",
        entries: &[
            Entry {
                command: "put",
                words: "A CID is the hash of the content, so the same file has the same CID on \
                    every host. The node serves the file for the time to live and then removes \
                    it.\n\n\
                    With several files, the command does not wait until they are announced to the \
                    DHT. That continues in the background, and `status` shows the progress. With \
                    --json, `files_unannounced` is the number of files that have not been announced \
                    yet.",
                examples: &[
                    example("p2p-node put film.mkv", "Share a file and print its CID."),
                    example(
                        "tar c photos | p2p-node put --ttl 7d -",
                        "Share a folder for a week.",
                    ),
                ],
            },
            Entry {
                command: "get",
                words: "It finds the peers that have the file, fetches its blocks from several of \
                    them at once, and verifies every block. The file appears under its name when \
                    it is complete. When the command is interrupted, it leaves no file there, but \
                    the blocks that have arrived stay in the store, so that the next attempt \
                    continues from them.",
                examples: &[
                    example(
                        "p2p-node get bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe -o film.mkv",
                        "Fetch a file.",
                    ),
                    example(
                        "p2p-node get bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe | tar x",
                        "Fetch a packed folder and unpack it.",
                    ),
                ],
            },
            Entry {
                command: "ls",
                words: "",
                examples: &[example("p2p-node ls -q", "Print only the CIDs.")],
            },
            Entry {
                command: "stat",
                words: "It shows the size, the number of blocks, when the file expires, and who \
                    signed it.",
                examples: &[example(
                    "p2p-node stat bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe",
                    "Describe a file.",
                )],
            },
            Entry {
                command: "rm",
                words: "Peers that have fetched the file may continue to serve it.",
                examples: &[example(
                    "p2p-node rm bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe",
                    "Remove a file and stop announcing it.",
                )],
            },
        ],
    },
    Chapter {
        title: "Messages",
        entries: &[
            Entry {
                command: "publish",
                words: "Topics whose names begin with `/`, the value of P2P_NETWORK and `/` belong \
                    to the network: messages on them are signed and numbered. Every other topic is \
                    plain libp2p gossipsub.\n\n\
                    The node does not have to be on the topic. When no connected peer is on it, or \
                    no peer is connected at all, the node looks for nodes on the topic through the \
                    DHT. The message waits for one of them for at most five seconds, and is then \
                    refused. The peers to which the node publishes stay connected for five minutes \
                    after the last message.\n\n\
                    Messages are sent no faster than peers accept them from one node, by default \
                    45 a second after a burst of 80 (a little less than half of P2P_RATE_FILL and \
                    of P2P_RATE_BURST). The command waits and does not read further in the \
                    meantime, so that no message is lost because it is sent too fast. On a \
                    terminal, and with --json, the command says to how many peers the messages \
                    were sent, and after an interruption also how many messages were sent.\n\n\
                    When a line of standard input is refused, the command reports it, publishes \
                    the other lines and then ends with exit status 1.",
                examples: &[
                    example(
                        "p2p-node publish /p2p-node/chat 'good morning'",
                        "Publish one message.",
                    ),
                    example(
                        "journalctl -f -o cat -u nginx | p2p-node publish weblog",
                        "Publish each line as it arrives.",
                    ),
                ],
            },
            Entry {
                command: "subscribe",
                words: "The node leaves the topic when the command ends, unless P2P_TOPICS \
                    contains it or another program uses it.\n\n\
                    While the node is on a topic, it announces itself in the DHT under a hash of \
                    the topic's name. When too few of its peers are on the topic, it looks for \
                    other nodes there, and it connects again to those that it has lost.",
                examples: &[
                    example(
                        "p2p-node subscribe /p2p-node/chat",
                        "Print the messages of others, until interrupted.",
                    ),
                    example(
                        "p2p-node subscribe --json weblog | jq -r .from",
                        "Print the publisher of each message.",
                    ),
                ],
            },
        ],
    },
    Chapter {
        title: "The distributed hash table",
        entries: &[
            Entry {
                command: "dht find-peer",
                words: "",
                examples: &[example(
                    "p2p-node dht find-peer 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                    "Print the addresses at which a peer can be dialed.",
                )],
            },
            Entry {
                command: "dht find-providers",
                words: "",
                examples: &[example(
                    "p2p-node dht find-providers --count 3 bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe",
                    "Print three peers that have a file.",
                )],
            },
            Entry {
                command: "dht provide",
                words: "Files that `put` has stored are announced without this command.",
                examples: &[example(
                    "p2p-node dht provide bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe",
                    "Announce a file of this node again.",
                )],
            },
            Entry {
                command: "dht get",
                words: "",
                examples: &[example(
                    "p2p-node dht get greeting",
                    "Print the value of a key.",
                )],
            },
            Entry {
                command: "dht put",
                words: "Values are public and expire. Whoever writes first to a key may change its value, \
                        and nobody else until it expires. Under /p2p-node/PEER/NAME only PEER can \
                        store a value, which it signs.",
                examples: &[
                    example("p2p-node dht put greeting hello", "Store a value."),
                    example(
                        "date | p2p-node dht put clock -",
                        "Store the text on standard input.",
                    ),
                ],
            },
        ],
    },
    Chapter {
        title: "Without a daemon",
        entries: &[
            Entry {
                command: "key generate",
                words: "The daemon does this at its first start. Create the key before that if \
                    others need to know the peer id in advance. The file is `identity.key` in the \
                    data folder.",
                examples: &[example(
                    "p2p-node key generate --data-dir ~/node",
                    "Create an identity and print its peer id.",
                )],
            },
            Entry {
                command: "key show",
                words: "",
                examples: &[example(
                    "p2p-node key show -q --data-dir ~/node",
                    "Print only the peer id.",
                )],
            },
            Entry {
                command: "config check",
                words: "It takes every flag of `run` as well.",
                examples: &[example(
                    "p2p-node config check --env-file /etc/p2p-node/p2p-node.env",
                    "Check a changed file before the service is restarted.",
                )],
            },
            Entry {
                command: "config show",
                words: "It takes every flag of `run` as well.",
                examples: &[example(
                    "p2p-node config show --env-file /etc/p2p-node/p2p-node.env",
                    "Print the configuration of the service.",
                )],
            },
            Entry {
                command: "config env-file",
                words: "",
                examples: &[example(
                    "p2p-node config env-file > node.env",
                    "Create an environment file to edit.",
                )],
            },
            Entry {
                command: "completions",
                words: "The packages install the completions for bash, fish and zsh.",
                examples: &[example(
                    "p2p-node completions bash > ~/.local/share/bash-completion/completions/p2p-node",
                    "Install the completions for bash for one user.",
                )],
            },
        ],
    },
];

/// Adds the examples to the help of every command.
pub(super) fn add_examples(mut root: clap::Command) -> clap::Command {
    for entry in MANUAL.iter().flat_map(|c| c.entries) {
        let path: Vec<&str> = entry.command.split(' ').collect();
        if leads_somewhere(&root, &path) {
            root = at(root, &path, entry);
        }
    }
    root
}

/// Returns whether the command exists. clap panics when it does not; instead, a test
/// reports entries without a command.
fn leads_somewhere(mut command: &clap::Command, path: &[&str]) -> bool {
    path.iter().all(|name| match command.find_subcommand(name) {
        Some(found) => {
            command = found;
            true
        }
        None => false,
    })
}

fn at(command: clap::Command, path: &[&str], entry: &Entry) -> clap::Command {
    match path {
        [] => command.after_help(help_of(entry.examples)),
        [name, rest @ ..] => command.mut_subcommand(name, |c| at(c, rest, entry)),
    }
}

fn help_of(examples: &[Example]) -> String {
    let mut help = "Examples:".to_owned();
    for e in examples {
        help.push_str(&format!("\n  {}\n      {}", e.line, e.does));
    }
    help
}

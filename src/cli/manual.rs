//! What the definition of a command does not say: more words about it, and
//! examples. Its help and the manual page both come from here.
//!
//! In the words, backticks mark what is typed as it stands.

/// Commands that belong together.
pub(super) struct Chapter {
    pub(super) title: &'static str,
    pub(super) entries: &'static [Entry],
}

/// A command.
pub(super) struct Entry {
    /// Its name, with that of the command above it: `dht put`.
    pub(super) command: &'static str,
    /// Paragraphs, separated by blank lines; empty when its one line says all.
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

/// Every command, in the order that people read them in.
pub(super) static MANUAL: &[Chapter] = &[
    Chapter {
        title: "The daemon",
        entries: &[
            Entry {
                command: "run",
                words: "This is also what `p2p-node` does without a command. Its \
                    configuration is environment variables, and each flag below mirrors one and \
                    wins over it; p2p-node.env(5) says what they mean.\n\n\
                    SIGTERM and SIGINT stop it: it drains for at most P2P_DRAIN_TIMEOUT, saves its \
                    state and closes its connections. A second signal cuts the draining short.",
                examples: &[
                    example("p2p-node run", "Run with what the environment says."),
                    example(
                        "p2p-node run --data-dir ~/node --metrics-port 0 --listen-addrs /ip4/0.0.0.0/udp/4001/quic-v1",
                        "Run beside the system's own node: with data of its own, on QUIC.",
                    ),
                ],
            },
            Entry {
                command: "reload",
                words: "The daemon reads the file of P2P_ENV_FILE again and checks all of it. A \
                    mistake changes nothing and is exit code 78. What can change while the node \
                    runs is in force when this command ends; what needs a restart is named. \
                    Connections that the new lists of addresses forbid are closed; those over a \
                    lowered limit stay, and none comes before there is room. `systemctl reload \
                    p2p-node` and SIGHUP do the same.",
                examples: &[example(
                    "p2p-node reload",
                    "Apply what was changed in the environment file.",
                )],
            },
            Entry {
                command: "health",
                words: "For the health checks of containers and scripts. It prints why the node is \
                    not ready.",
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
                words: "Identity, uptime, addresses, peers, DHT, gossip meshes, store, \
                    announcements, NAT, bans, memory, and how much of each limit is used.",
                examples: &[
                    example(
                        "p2p-node status --watch",
                        "Show it again every two seconds.",
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
                        "Print an address for P2P_BOOTSTRAP_PEERS of another node.",
                    ),
                ],
            },
            Entry {
                command: "peers",
                words: "Each with the direction, transport and age of its connections, its last \
                    ping, streams, reputation and agent, and why a connection with it is kept \
                    although nothing may use it: floor (it is one of P2P_MIN_PEERS), peering (it \
                    is one of P2P_PEERING), publishing (messages of this host went to it lately), \
                    topic (it is on a topic of this node), asked (the peer asked for it). One that \
                    is kept for nothing ends when it has been idle for \
                    P2P_CONNECTION_IDLE_TIMEOUT.",
                examples: &[
                    example(
                        "p2p-node peers --json | jq -r '.[] | select(.reputation < 0) | .peer_id'",
                        "Print who has misbehaved.",
                    ),
                    example(
                        "p2p-node peers --json | jq -r '.[] | select(.kept_for == []) | .peer_id'",
                        "Print the peers that leave when they are idle.",
                    ),
                ],
            },
        ],
    },
    Chapter {
        title: "When something is wrong",
        entries: &[Entry {
            command: "diag",
            words: "Each check is ok, a note, a warning or a problem, with what was found and what \
                to do about it. What happened \"lately\" is of the last five minutes. The \
                thresholds are those of the alert rules for Prometheus. To see whether they answer, \
                it dials the bootstrap peers that no connection is open to.\n\n\
                Without a daemon it says what keeps one from starting: the unit, the configuration, \
                the data folder, ports and disk. It exits with 0 when nothing is a problem, with 1 \
                when something is, and with 69, after its report, when there is no daemon.\n\n\
                With --bundle it writes all that it has seen into one text file for a bug report \
                instead, and exits with 0 when that is written: findings, status, configuration, \
                metrics, platform and the last lines of the log. It is text so that you can read it \
                before you send it. No key is in it; peer ids, addresses and host names are replaced \
                by numbers unless --with-peers is given. An existing file is never overwritten.",
            examples: &[
                example("p2p-node diag -q", "Print only what should be mended."),
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
                words: "It is done when the peer has said who it is. A peer that refuses this node, \
                    because it has banned it or is full, closes the connection first, which is \
                    a failure.",
                examples: &[
                    example(
                        "p2p-node connect /ip4/192.0.2.7/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                        "Connect to a peer at an address, and to nobody else there.",
                    ),
                    example(
                        "p2p-node connect 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                        "Find the addresses of a peer in the DHT, and connect.",
                    ),
                ],
            },
            Entry {
                command: "disconnect",
                words: "It may come back; `ban` keeps it out.",
                examples: &[example(
                    "p2p-node disconnect 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                    "Close all connections with a peer.",
                )],
            },
            Entry {
                command: "ban",
                words: "Connections are closed at once and new ones are refused, in both \
                    directions, also after a restart. A ban by an operator holds for \
                    P2P_TRUSTED_PEERS too. The node bans by itself whoever goes on misbehaving, \
                    for ten minutes at first.",
                examples: &[
                    example(
                        "p2p-node ban 192.0.2.0/24 --for 1h --reason 'port scans'",
                        "Refuse a network for an hour.",
                    ),
                    example(
                        "p2p-node ban 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                        "Refuse a peer until it is unbanned.",
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
                words: "With who set each, why, and when it ends.",
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
                    With several files it does not wait until the DHT is told of them, which \
                    goes on in the background; `status` shows how far it is. With --json, \
                    `files_unannounced` says how many files the DHT is not told of yet.",
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
                words: "It finds who has the file, fetches its blocks from several of them at \
                    once, and verifies every block. The file appears under its name when it is \
                    whole; interrupted, it leaves nothing there, and what has come stays in the \
                    store, so that another try goes on from it.",
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
                examples: &[example(
                    "p2p-node ls -q",
                    "Print the CIDs and nothing else.",
                )],
            },
            Entry {
                command: "stat",
                words: "Size, blocks, when it expires, and who signed it.",
                examples: &[example(
                    "p2p-node stat bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe",
                    "Describe a file.",
                )],
            },
            Entry {
                command: "rm",
                words: "Others may have fetched it and go on serving it.",
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
                words: "Topics whose names begin with `/` and P2P_NETWORK and `/` are this \
                    network's own: what is published there travels signed and numbered. Every \
                    other topic is plain libp2p gossipsub.\n\n\
                    The node need not be on the topic. When no connected peer is, or nobody is \
                    connected at all, it looks for nodes that are, through the DHT, and the \
                    message waits for one of them, five seconds at most; then it is refused. \
                    Those that the node publishes to stay connected for five minutes after the \
                    last message.\n\n\
                    Messages go no faster than peers take them from one node, by default 45 \
                    a second after 80 at once (a little less than half of P2P_RATE_FILL and \
                    of P2P_RATE_BURST). The command waits for that, and reads no further \
                    meanwhile, so no message is lost by being too fast. On a terminal, and with \
                    --json, it says to how many peers the messages went; when interrupted, how \
                    many of them went.\n\n\
                    A line of standard input that is refused is reported and keeps no other \
                    from being published; the command then ends with exit status 1.",
                examples: &[
                    example(
                        "p2p-node publish /p2p-node/chat 'good morning'",
                        "Publish one message.",
                    ),
                    example(
                        "journalctl -f -o cat -u nginx | p2p-node publish weblog",
                        "Publish each line as it comes.",
                    ),
                ],
            },
            Entry {
                command: "subscribe",
                words: "The topic is left when the command ends, unless P2P_TOPICS names it or \
                    another program uses it.\n\n\
                    As long as the node is on a topic it announces itself in the DHT under a hash \
                    of the topic's name, looks there for others when too few of its peers are on \
                    the topic, and connects again to those that it has lost.",
                examples: &[
                    example(
                        "p2p-node subscribe /p2p-node/chat",
                        "Print what others publish, until interrupted.",
                    ),
                    example(
                        "p2p-node subscribe --json weblog | jq -r .from",
                        "Print who published.",
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
                    "Print where a peer can be dialed.",
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
                words: "What `put` stored is announced without this.",
                examples: &[example(
                    "p2p-node dht provide bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe",
                    "Announce again what the node has.",
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
                words: "Values are public and expire; anybody can write under any key.",
                examples: &[
                    example("p2p-node dht put greeting hello", "Store a value."),
                    example(
                        "date | p2p-node dht put clock -",
                        "Store what comes on standard input.",
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
                words: "The daemon does this at its first start; a key that is made before gives \
                    the peer id to others in time. The file is `identity.key` in the data folder.",
                examples: &[example(
                    "p2p-node key generate --data-dir ~/node",
                    "Make an identity and print its peer id.",
                )],
            },
            Entry {
                command: "key show",
                words: "",
                examples: &[example(
                    "p2p-node key show -q --data-dir ~/node",
                    "Print the peer id and nothing else.",
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
                    "Print what the service gets.",
                )],
            },
            Entry {
                command: "config env-file",
                words: "",
                examples: &[example(
                    "p2p-node config env-file > node.env",
                    "Begin a file of one's own.",
                )],
            },
            Entry {
                command: "completions",
                words: "The packages install those of bash, fish and zsh.",
                examples: &[example(
                    "p2p-node completions bash > ~/.local/share/bash-completion/completions/p2p-node",
                    "Install the completions of bash for one user.",
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

/// clap panics at a command that it does not have; a test names those.
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

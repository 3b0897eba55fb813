//! p2p-node(1): every command and option, taken from clap's definition.

use clap::{Arg, Command};

use super::mdoc::{Page, argument, flag};
use crate::cli::Cli;
use crate::cli::manual::{self, Entry};
use crate::config::Variable;

/// Returns the page.
pub(super) fn page() -> String {
    let mut root = Cli::definition();
    root.build();
    let mut page = Page::new(
        super::MADE,
        "p2p-node",
        1,
        "libp2p daemon and the commands that control it",
    );
    page.heading("SYNOPSIS");
    page.raw(".Nm");
    for option in global_options(&root) {
        page.raw(&format!(".Op {}", option_head(option)));
    }
    page.raw(".Op Ar command Op Ar argument ...");
    page.heading("DESCRIPTION");
    page.raw(".Nm");
    page.prose(
        "is a libp2p daemon that runs as a service. It makes the host part of a peer-to-peer \
         network, stays within its limits and keeps its state across restarts. People share \
         files with it (`put` on one host, `get` on another), and programs on the same host \
         publish, subscribe, open streams and use the DHT through one Unix socket.\n\n\
         Without a command, the daemon runs in the foreground. All other commands talk to a \
         running daemon over its control socket, except for those marked as offline.\n\n\
         p2p-node.service(8) describes the system service: how to install, monitor, back up and \
         upgrade it. p2p-node.env(5) describes the configuration.",
    );
    page.heading("OPTIONS");
    page.prose("These options can be given before or after any command.");
    options(&mut page, global_options(&root));
    page.raw(".Pp");
    page.prose(
        "`p2p-node --version` prints the version, and `--help` after any command describes it, \
         with examples.",
    );
    page.heading("COMMANDS");
    for chapter in manual::MANUAL {
        page.subheading(chapter.title);
        page.raw(".Bl -tag -width Ds");
        for entry in chapter.entries {
            if let Some(command) = find(&root, entry.command) {
                describe(&mut page, command, entry);
            }
        }
        page.raw(".El");
    }
    rest(&mut page);
    page.finish()
}

fn find<'a>(root: &'a Command, path: &str) -> Option<&'a Command> {
    path.split(' ')
        .try_fold(root, |command, name| command.find_subcommand(name))
}

/// Returns the options of every command, except for those that clap itself adds.
fn global_options(root: &Command) -> Vec<&Arg> {
    root.get_arguments()
        .filter(|a| a.is_global_set() && !is_claps(a))
        .collect()
}

fn is_claps(arg: &Arg) -> bool {
    matches!(arg.get_id().as_str(), "help" | "version")
}

fn describe(page: &mut Page, command: &Command, entry: &Entry) {
    let (mirrors, own): (Vec<_>, Vec<_>) = command
        .get_arguments()
        .filter(|a| !a.is_global_set() && !is_claps(a) && !a.is_hide_set())
        .partition(|a| Variable::find(a.get_id().as_str()).is_some());
    let mut head = format!(".It Cm {}", entry.command.replace('-', "\\-"));
    let mirrors_end = if mirrors.is_empty() {
        ""
    } else {
        " Op Ar flag ..."
    };
    for arg in own.iter().filter(|a| !a.is_positional()) {
        head.push_str(&format!(" Oo {} Oc", option_head(arg)));
    }
    head.push_str(mirrors_end);
    for arg in own.iter().filter(|a| a.is_positional()) {
        head.push_str(&match arg.is_required_set() {
            true => format!(" {}", value_head(arg)),
            false => format!(" Oo {} Oc", value_head(arg)),
        });
    }
    page.raw(&head);
    page.prose(&sentence(&about(command)));
    if !entry.words.is_empty() {
        page.raw(".Pp");
        page.prose(entry.words);
    }
    if !own.is_empty() {
        options(page, own);
    }
    // `config check` takes the flags of `run` too, but they are listed only once.
    if !mirrors.is_empty() && command.get_name() == "run" {
        mirrored(page, &mirrors);
    }
    if !entry.examples.is_empty() {
        page.raw(".Pp");
        page.raw(if entry.examples.len() == 1 {
            "Example:"
        } else {
            "Examples:"
        });
        page.raw(".Bl -tag -width Ds -compact");
        for e in entry.examples {
            page.raw(&format!(".It Li {}", argument(e.line)));
            page.prose(e.does);
        }
        page.raw(".El");
    }
}

fn about(command: &Command) -> String {
    command
        .get_long_about()
        .or(command.get_about())
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Returns the text with a full stop at its end.
fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}

/// Returns an option's macros, such as `Fl s , Fl -socket Ar PATH`.
fn option_head(arg: &Arg) -> String {
    let mut head = String::new();
    if let Some(short) = arg.get_short() {
        head.push_str(&flag(&format!("-{short}")));
        if arg.get_long().is_some() {
            head.push_str(" | ");
        }
    }
    if let Some(long) = arg.get_long() {
        head.push_str(&flag(&format!("--{long}")));
    }
    if arg.get_action().takes_values() {
        head.push(' ');
        head.push_str(&value_head(arg));
    }
    head
}

/// Returns a positional argument's macros, such as `Ar FILE ...`.
fn value_head(arg: &Arg) -> String {
    let name = arg.get_value_names().map_or_else(
        || arg.get_id().as_str().to_uppercase(),
        |names| names.join(" "),
    );
    let name = name.trim_end_matches(",…");
    let several = matches!(arg.get_action(), clap::ArgAction::Append);
    format!("Ar {}{}", argument(name), if several { " ..." } else { "" })
}

fn options(page: &mut Page, args: Vec<&Arg>) {
    page.raw(".Bl -tag -width Ds");
    for arg in args {
        let head = if arg.is_positional() {
            value_head(arg)
        } else {
            option_head(arg).replace(" | ", " , ")
        };
        page.raw(&format!(".It {head}"));
        let help = arg
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default()
            .replace("[env: ", "[environment: ");
        page.prose(&sentence(&help));
        let defaults: Vec<_> = arg
            .get_default_values()
            .iter()
            .map(|v| v.to_string_lossy())
            .collect();
        if arg.get_action().takes_values() && !defaults.is_empty() {
            page.prose(&format!("The default is `{}`.", defaults.join(",")));
        }
        let possible: Vec<_> = arg
            .get_possible_values()
            .iter()
            .map(|v| format!("`{}`", v.get_name()))
            .collect();
        if arg.get_action().takes_values() && !possible.is_empty() {
            page.prose(&format!("Accepted: {}.", possible.join(", ")));
        }
    }
    page.raw(".El");
}

/// Writes the flags of `run`, each with its variable.
fn mirrored(page: &mut Page, args: &[&Arg]) {
    page.raw(".Pp");
    page.raw("Flags, and the variables that they correspond to:");
    page.raw(".Bl -tag -width Ds -compact");
    for arg in args {
        let Some(variable) = Variable::find(arg.get_id().as_str()) else {
            continue;
        };
        let head = flag(&format!("--{}", variable.flag()));
        let value = value_head(arg);
        let value = if variable.is_switch() {
            " Ns Oo Ns = Ns Ar BOOL Oc".to_owned()
        } else {
            format!(" {value}")
        };
        page.raw(&format!(".It {head}{value}"));
        page.raw(&format!(".Ev {}", variable.name));
    }
    page.raw(".El");
}

fn rest(page: &mut Page) {
    page.heading("ENVIRONMENT");
    page.prose("The daemon reads the variables of p2p-node.env(5). The other commands read these:");
    page.raw(".Bl -tag -width Ds");
    for (name, words) in [
        (
            "P2P_CONTROL_SOCKET",
            "The daemon's socket, unless `--socket` is given. Without either, commands look for \
             the daemon of the same user (in P2P_DATA_DIR, or else in the usual data folder) and \
             then for that of the system.",
        ),
        (
            "NO_COLOR",
            "When this variable is set and not empty, commands do not use colours. They only \
             use colours on terminals.",
        ),
    ] {
        page.raw(&format!(".It Ev {name}"));
        page.prose(words);
    }
    page.raw(".El");
    page.heading("FILES");
    page.raw(".Bl -tag -width Ds");
    for (path, words) in [
        (
            "/etc/p2p-node/p2p-node.env",
            "Configuration of the service; see p2p-node.env(5).",
        ),
        (
            "/run/p2p-node/control.sock",
            "The service's control socket. Members of the group `p2p-node` may use it.",
        ),
        (
            "/var/lib/p2p-node",
            "The service's data: `identity.key`, the database and the blocks. Back it up as \
             p2p-node.service(8) says.",
        ),
        (
            "~/.local/share/p2p-node",
            "Data and control socket of a daemon that a user runs.",
        ),
    ] {
        page.raw(&format!(".It Pa {}", argument(path)));
        page.prose(words);
    }
    page.raw(".El");
    page.heading("EXIT STATUS");
    page.raw(".Bl -tag -width Ds -compact");
    for (code, words) in [
        ("0", "The command succeeded."),
        (
            "1",
            "The command failed; one line on standard error says why.",
        ),
        ("2", "The command line is wrong."),
        ("69", "No daemon answers at the socket."),
        (
            "78",
            "The configuration is invalid. The service is not started again until it is corrected.",
        ),
    ] {
        page.raw(&format!(".It {code}"));
        page.prose(words);
    }
    page.raw(".El");
    page.raw(".Pp");
    page.prose(
        "A command that cleans up when it is interrupted ends with 128 plus the number of the \
         signal, as in a shell.",
    );
    page.heading("EXAMPLES");
    page.prose("Share a file on one host:");
    page.literal(&["$ p2p-node put film.mkv", "bafybei..."]);
    page.prose("Fetch it on another:");
    page.literal(&["$ p2p-node get bafybei... -o film.mkv"]);
    page.prose("Let a user control the node of the system without being root:");
    page.literal(&["# usermod -aG p2p-node alice"]);
    page.heading("SEE ALSO");
    page.raw(".Xr p2p-node.env 5 ,");
    page.raw(".Xr p2p-node.service 8");
    page.heading("STANDARDS");
    page.prose(
        "The control socket speaks the control protocol of the libp2p daemon (p2pd), with \
         additional requests, so that clients of p2pd work with it. On the network, p2p-node \
         follows the libp2p specifications: TCP, QUIC and WebSocket with Noise or TLS 1.3, \
         Kademlia, gossipsub, circuit relay v2, AutoNAT and DCUtR.",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Collects every command that does something, such as `dht put`, except for hidden
    /// ones.
    fn leaves(command: &Command, path: &str, found: &mut Vec<String>) {
        for sub in command.get_subcommands().filter(|s| !s.is_hide_set()) {
            let path = format!("{path} {}", sub.get_name()).trim().to_owned();
            match sub.has_subcommands() {
                true => leaves(sub, &path, found),
                false => found.push(path),
            }
        }
    }

    #[test]
    fn the_manual_has_every_command_once_and_no_other() {
        let mut commands = Vec::new();
        leaves(&Cli::definition(), "", &mut commands);
        let mut described: Vec<_> = manual::MANUAL
            .iter()
            .flat_map(|c| c.entries)
            .map(|e| e.command.to_owned())
            .collect();
        commands.sort();
        described.sort();
        assert_eq!(commands, described, "src/cli/manual.rs has to follow");
    }

    #[test]
    fn every_option_is_on_the_page() {
        let page = page();
        let mut root = Cli::definition();
        root.build();
        fn check(command: &Command, page: &str) {
            for arg in command.get_arguments().filter(|a| !is_claps(a)) {
                if let Some(long) = arg.get_long() {
                    let flag = flag(&format!("--{long}"));
                    assert!(page.contains(&flag), "--{long} of {}", command.get_name());
                }
            }
            for sub in command.get_subcommands().filter(|s| !s.is_hide_set()) {
                check(sub, page);
            }
        }
        check(&root, &page);
    }

    #[test]
    fn every_example_is_a_command_line_of_its_command() {
        for entry in manual::MANUAL.iter().flat_map(|c| c.entries) {
            assert!(!entry.examples.is_empty(), "{}", entry.command);
            for e in entry.examples {
                let calls = super::super::tests::calls(e.line);
                assert!(
                    calls
                        .iter()
                        .any(|c| c[1..].join(" ").starts_with(entry.command)),
                    "{} is an example of {}",
                    e.line,
                    entry.command
                );
                for mut call in calls {
                    // `xargs` adds the argument.
                    if e.line.contains("xargs") && call.len() == 2 {
                        call.push("192.0.2.1".into());
                    }
                    if let Err(why) = Cli::try_parse(call) {
                        panic!("{}: {why}", e.line);
                    }
                }
                assert!(e.does.ends_with('.'), "{}", e.does);
            }
        }
    }
}

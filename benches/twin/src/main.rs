//! One program, two stacks: p2p-node's transports on async-std, and libp2p's own
//! on tokio, doing the same work with the same options.
//!
//! `run` starts a listener and a dialer as two processes on loopback and prints
//! one line of figures. `benches/run.sh` compares the stacks with it.

mod plain;
mod stacks;
mod work;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use clap::{Parser, Subcommand, ValueEnum};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
struct Arguments {
    /// Whose transports.
    #[arg(long, value_enum, default_value = "ours")]
    stack: Stack,
    /// Which transport.
    #[arg(long, value_enum, default_value = "tcp-tls")]
    transport: Transport,
    #[command(subcommand)]
    role: Role,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
enum Stack {
    Ours,
    Tokio,
    /// A plain TCP copy, for reference.
    Plain,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
enum Transport {
    TcpTls,
    TcpNoise,
    Quic,
}

#[derive(Subcommand)]
enum Role {
    /// Print an address, serve until standard input ends, answer each line with
    /// resident memory and CPU time.
    Listen,
    /// Do one kind of work against a listener.
    Dial {
        address: String,
        #[command(subcommand)]
        work: Work,
    },
    /// Both, in two processes.
    Run {
        #[command(subcommand)]
        work: Work,
    },
}

#[derive(Clone, Subcommand)]
enum Work {
    /// Move bytes over one stream, from dialer to listener.
    Transfer {
        #[arg(default_value_t = 1 << 30)]
        bytes: u64,
    },
    /// Connect and disconnect.
    Handshakes {
        #[arg(default_value_t = 500)]
        count: usize,
        /// How many at once.
        #[arg(long, default_value_t = 8)]
        parallel: usize,
    },
    /// Hold connections open, and look at the listener's memory.
    Idle {
        #[arg(default_value_t = 1000)]
        count: usize,
    },
}

impl Work {
    fn arguments(&self) -> Vec<String> {
        match self {
            Work::Transfer { bytes } => vec!["transfer".into(), bytes.to_string()],
            Work::Handshakes { count, parallel } => {
                vec!["handshakes".into(), count.to_string(), format!("--parallel={parallel}")]
            }
            Work::Idle { count } => vec!["idle".into(), count.to_string()],
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match (&arguments.role, arguments.stack) {
        (Role::Run { work }, _) => run(&arguments, work),
        (Role::Listen, Stack::Plain) => plain::listen(),
        (Role::Dial { address, work: Work::Transfer { bytes } }, Stack::Plain) => {
            plain::dial(address, *bytes)
        }
        (_, Stack::Plain) => Err("the plain copy only transfers".into()),
        (Role::Listen, Stack::Ours) => {
            async_std::task::block_on(work::listen(stacks::ours(arguments.transport)?))
        }
        (Role::Dial { address, work }, Stack::Ours) => async_std::task::block_on(work::dial(
            stacks::ours(arguments.transport)?,
            address.parse()?,
            work.clone(),
        )),
        (Role::Listen, Stack::Tokio) => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(async { work::listen(stacks::tokio(arguments.transport)?).await }),
        (Role::Dial { address, work }, Stack::Tokio) => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(async {
                let swarm = stacks::tokio(arguments.transport)?;
                work::dial(swarm, address.parse()?, work.clone()).await
            }),
    }
}

/// Stops the process when dropped; it would otherwise outlive an error here.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(arguments: &Arguments, work: &Work) -> Result<()> {
    let name = |value: clap::builder::PossibleValue| value.get_name().to_owned();
    let common = [
        format!("--stack={}", arguments.stack.to_possible_value().map(name).unwrap_or_default()),
        format!(
            "--transport={}",
            arguments.transport.to_possible_value().map(name).unwrap_or_default()
        ),
    ];
    let program = std::env::current_exe()?;
    let mut listener = Guard(
        Command::new(&program)
            .args(&common)
            .arg("listen")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut ask = listener.0.stdin.take().ok_or("no stdin")?;
    let mut answers = BufReader::new(listener.0.stdout.take().ok_or("no stdout")?).lines();
    let mut next = || answers.next().unwrap_or_else(|| Err(std::io::ErrorKind::UnexpectedEof.into()));
    let address = next()?;

    let mut dialer = Guard(
        Command::new(&program)
            .args(&common)
            .arg("dial")
            .arg(&address)
            .args(work.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut results = BufReader::new(dialer.0.stdout.take().ok_or("no stdout")?).lines();
    let result = results.next().ok_or("the dialer printed nothing")??;
    writeln!(ask, "usage")?;
    let usage = next()?;
    drop(dialer.0.stdin.take());
    println!("{result} listener: {usage}");
    drop(ask);
    Ok(())
}

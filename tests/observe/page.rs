//! The status page of real daemons with traffic and a hostile peer, in headless Chromium.
//! `tests/page/run` runs this in a network namespace of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::http::{get, until};
use crate::common::{Closed, Daemon, PROGRAM, eventually};
use crate::stranger::{self, AGENT};

/// Hostile where an operator or a program on this host can choose a text.
const NETWORK: &str = "lab";
const TOPIC: &str = "</title><script>document.title='forged'</script>";
const EXTERNAL: &str = "/dns/<img src=x onerror=document.title='forged'>/tcp/4001";

struct World {
    dir: tempfile::TempDir,
    daemons: Vec<Daemon>,
}

/// Three daemons that know one another, a file and messages between them, a dial
/// that fails, a ban, and a stranger.
fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let first = Daemon::start(
        &dir.path().join("0"),
        &[
            ("P2P_NETWORK", NETWORK),
            ("P2P_TOPICS", TOPIC),
            ("P2P_EXTERNAL_ADDRS", EXTERNAL),
            ("P2P_STORE_MAX_BYTES", "64MiB"),
            ("P2P_MAX_CONNECTIONS", "8"),
            ("P2P_BOOTSTRAP", "true"),
        ],
    );
    let address = first.address("tcp");
    let mut daemons = vec![first];
    for name in ["1", "2"] {
        daemons.push(Daemon::start(
            &dir.path().join(name),
            &[
                ("P2P_NETWORK", NETWORK),
                ("P2P_TOPICS", TOPIC),
                ("P2P_BOOTSTRAP_PEERS", &address),
            ],
        ));
    }
    let at = daemons[0].http();
    until(at, "p2p_connected_peers", |v| v >= 2.0);
    let file = dir.path().join("file");
    let content: Vec<u8> = (0..6_000_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    std::fs::write(&file, content).unwrap();
    let cid = daemons[0].ok(&["put", "-q", file.to_str().unwrap()]);
    let cid = cid.lines().last().unwrap().to_owned();
    for (n, daemon) in daemons.iter().enumerate().skip(1) {
        let to = dir.path().join(format!("got{n}"));
        daemon.ok(&["get", &cid, "-o", to.to_str().unwrap()]);
    }
    for _ in 0..20 {
        daemons[1].cli(&["publish", TOPIC, "hello"]);
    }
    assert!(
        !daemons[0]
            .cli(&["connect", &Closed::new().address()])
            .status
            .success()
    );
    stranger::meet(&address);
    eventually("the stranger's name is known", || {
        let peers = daemons[0].ok(&["peers", "--json"]);
        peers.contains("document.title").then_some(())
    });
    // What a sample every five seconds has of it.
    eventually("the page shows the traffic", || {
        let (_, page) = get(at, "/");
        let lines = page.matches("<path class=\"line").count();
        (lines == 3 && page.contains("MiB")).then_some(())
    });
    World { dir, daemons }
}

#[test]
fn a_stranger_puts_nothing_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[("P2P_TOPICS", TOPIC)]);
    stranger::meet(&daemon.address("tcp"));
    let peers = eventually("the stranger's name is known", || {
        let peers = daemon.ok(&["peers", "--json"]);
        peers.contains("document.title").then_some(peers)
    });
    let peers: serde_json::Value = serde_json::from_str(&peers).unwrap();
    let peer = peers[0]["peer_id"].as_str();
    let (head, page) = get(daemon.http(), "/");
    for text in ["<script", AGENT, "forged", "192.0.2.1", "<img"] {
        assert!(!page.contains(text), "{text} is on {page}");
    }
    // Who is connected is for the operator.
    let peer = peer.unwrap_or_else(|| panic!("{peers}"));
    assert!(peer.starts_with("12D3") && !page.contains(peer));
    assert!(
        head.contains("Content-Security-Policy: default-src 'none';"),
        "{head}"
    );
    assert!(
        head.contains("X-Content-Type-Options: nosniff")
            && head.contains("Cache-Control: no-store")
    );
    let (_, metrics) = get(daemon.http(), "/metrics");
    assert!(
        !metrics.contains("forged") && !metrics.contains("12D3"),
        "{metrics}"
    );
}

/// Chromium with a profile of its own, told to ask for nothing by itself.
fn chromium(dir: &Path) -> Command {
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args(["--disable-sync", "--no-first-run", "--disable-extensions"])
        .args(["--disable-features=OptimizationHints,MediaRouter,Translate"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=2000"])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .env("HOME", dir)
        .stdin(Stdio::null());
    command
}

/// What a page asked for beside itself, from a log of the browser's network
/// stack, and what the browser complained of.
fn requests(dir: &Path, url: &str) -> (Vec<String>, String, String) {
    let log = dir.join("net.json");
    let output = chromium(dir)
        .arg(format!("--log-net-log={}", log.display()))
        .args(["--dump-dom", url])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let log = std::fs::read_to_string(&log).unwrap();
    // A browser asks for updates of its own, which no document initiated.
    // One event a line. A browser asks for updates of its own, which no document
    // initiated.
    let mut urls: Vec<String> = log
        .lines()
        .filter(|event| event.contains("\"initiator\":\""))
        .filter(|event| !event.contains("\"initiator\":\"not an origin"))
        .filter_map(|event| event.split("\"url\":\"").nth(1)?.split('"').next())
        .map(Into::into)
        .collect();
    urls.sort();
    urls.dedup();
    let dom = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    let complaints = complaints.lines().filter(|l| l.contains("CONSOLE"));
    (urls, dom, complaints.collect::<Vec<_>>().join("\n"))
}

#[derive(Debug)]
struct Picture {
    path: PathBuf,
    facts: serde_json::Value,
}

impl Picture {
    fn take(world: &World, url: &str, name: &str, width: u32, height: u32, dark: bool) -> Self {
        let path = world.dir.path().join(format!("{name}.png"));
        let mut browser = chromium(world.dir.path());
        if dark {
            browser.arg("--blink-settings=preferredColorScheme=0");
        } else {
            browser.arg("--blink-settings=preferredColorScheme=1");
        }
        let output = browser
            .arg(format!("--window-size={width},{height}"))
            .arg(format!("--screenshot={}", path.display()))
            .arg(url)
            .output()
            .unwrap();
        assert!(output.status.success() && path.exists(), "{output:?}");
        if let Some(keep) = std::env::var_os("SCREENSHOTS").filter(|v| !v.is_empty()) {
            std::fs::create_dir_all(&keep).unwrap();
            std::fs::copy(&path, Path::new(&keep).join(format!("{name}.png"))).unwrap();
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/picture.py");
        let facts = Command::new("python3")
            .arg(script)
            .arg(&path)
            .output()
            .unwrap();
        assert!(facts.status.success(), "{facts:?}");
        let facts = serde_json::from_slice(&facts.stdout).unwrap();
        Picture { path, facts }
    }

    fn is_full(&self, width: u32) {
        let Picture { path, facts } = self;
        assert_eq!(facts["width"], width, "{path:?}");
        assert!(
            facts["colours"].as_u64().unwrap() > 100,
            "{path:?}: {facts}"
        );
        assert!(facts["inked"].as_u64().unwrap() > 600, "{path:?}: {facts}");
    }
}

#[test]
#[ignore = "needs Chromium; run by tests/page/run"]
fn a_browser_shows_the_page_and_asks_for_nothing_else() {
    let world = world();
    let at = world.daemons[0].http();
    let url = format!("http://{at}/?still");

    // That the check can find something: a page that asks for a picture.
    let bait = world.dir.path().join("bait.html");
    std::fs::write(&bait, "<img src=http://192.0.2.1/bait>").unwrap();
    let (urls, _, _) = requests(world.dir.path(), &format!("file://{}", bait.display()));
    assert!(urls.iter().any(|u| u.contains("192.0.2.1")), "{urls:?}");

    let (urls, dom, complaints) = requests(world.dir.path(), &url);
    assert!(urls.is_empty(), "the page asked for {urls:?}");
    assert_eq!(complaints, "", "the browser complains");
    for text in [
        "<h2>Peers</h2>",
        "<h2>Traffic</h2>",
        "<h2>Limits in use</h2>",
        "P2P_STORE_MAX_BYTES",
        "of 64.0&nbsp;MiB",
        "<h2>Refused and failed</h2>",
        "<h2>How others reach it</h2>",
        "class=\"line a\"",
    ] {
        assert!(dom.contains(text), "{text} is not in {dom}");
    }
    // As the browser understood it: text, no element.
    assert!(dom.contains("<title>Ready, 3 peers"), "{dom}");
    assert!(!dom.contains("<script") && !dom.contains("<img"), "{dom}");
    assert!(dom.contains("&lt;img src=x onerror="), "{dom}");

    let light = Picture::take(&world, &url, "light", 1200, 1500, false);
    light.is_full(1200);
    let dark = Picture::take(&world, &url, "dark", 1200, 1500, true);
    dark.is_full(1200);
    let share = |p: &Picture| p.facts["dark"].as_f64().unwrap();
    assert!(
        share(&light) < 0.2 && share(&dark) > 0.6,
        "{light:?} {dark:?}"
    );
    let phone = Picture::take(&world, &url, "phone", 500, 2600, false);
    phone.is_full(500);
    println!("{light:?}\n{dark:?}\n{phone:?}\n{PROGRAM}");
}

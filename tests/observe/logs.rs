//! Each log format, written by the program's own logger in a separate process, with
//! text that a remote may send, and with a panic.

use crate::forms;

/// What a remote may send: line breaks, colours, quotes, forged records.
const EVIL: &str =
    "x\n<0>p2p_node: all is lost\r\u{1b}[31m\u{2028}\",\"level\":\"error\",\"a\":\"\\\u{0}";

#[test]
#[ignore = "run by the other tests, as a process of its own"]
fn child() {
    forms::init("trace");
    // Only the program's own errors are errors: those of libraries count as warnings.
    log::error!(target: "p2p_node::logs", error = EVIL; "act");
    log::warn!(
        peer = EVIL, ts = EVIL, level = "none", target = EVIL, msg = EVIL, duration_ms = 12u64,
        ratio = f64::NAN;
        "look: {EVIL}"
    );
    log::info!("life");
    log::debug!("each");
    log::trace!("all");
    let worker = std::thread::Builder::new().name("worker".into());
    let panicked = worker
        .spawn(|| panic!("first\nsecond {EVIL}"))
        .unwrap()
        .join();
    assert!(panicked.is_err());
}

fn said(form: &str, backtrace: &str) -> Vec<String> {
    forms::written("logs::child", form, &[("RUST_BACKTRACE", backtrace)])
}

#[test]
fn every_line_for_the_journal_has_its_priority() {
    let lines = said("journal", "0");
    let begins: Vec<&str> = lines.iter().map(|l| &l[..3]).collect();
    assert_eq!(
        begins,
        ["<3>", "<4>", "<6>", "<7>", "<7>", "<2>"],
        "{lines:#?}"
    );
    let panic = &lines[5];
    for part in [
        "p2p_node::panic",
        "first\\nsecond",
        "place=",
        "logs.rs:",
        "thread=worker",
    ] {
        assert!(panic.contains(part), "{part} is not in {panic}");
    }
    let traced = said("journal", "1");
    assert!(traced.len() > 8, "no backtrace in {traced:#?}");
    for line in &traced[6..] {
        assert!(line.starts_with("<2>p2p_node::panic: "), "{line}");
    }
}

#[test]
fn every_line_of_json_is_an_object_with_the_fixed_fields_whatever_is_in_it() {
    for backtrace in ["0", "1"] {
        let lines = said("json", backtrace);
        assert_eq!(lines.len(), 6, "{lines:#?}");
        let levels = ["error", "warn", "info", "debug", "trace", "error"];
        for (line, level) in lines.iter().zip(levels) {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["level"], level, "{line}");
            let ts = value["ts"].as_str().unwrap();
            assert!(
                ts.len() == 24 && ts.ends_with('Z') && &ts[10..11] == "T",
                "{ts}"
            );
            let target = value["target"].as_str().unwrap();
            assert!(!target.contains(EVIL), "{line}");
            assert!(line.starts_with("{\"ts\":"), "{line}");
        }
        let warned: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!(warned["peer"], EVIL);
        assert_eq!(warned["duration_ms"], 12);
        assert_eq!(warned["level_"], "none");
        let panic: serde_json::Value = serde_json::from_str(&lines[5]).unwrap();
        assert_eq!(panic["thread"], "worker");
        assert_eq!(panic["backtrace"].is_string(), backtrace == "1");
    }
}

#[test]
fn text_has_no_colour_in_a_pipe_and_no_control_character_ever() {
    let lines = said("text", "1");
    for line in &lines {
        assert!(
            line.chars().all(|c| !c.is_control() && c != '\u{2028}'),
            "{line:?}"
        );
    }
    assert!(
        lines[0].contains(" ERROR ") && lines[5].contains("p2p_node::panic"),
        "{lines:#?}"
    );
}

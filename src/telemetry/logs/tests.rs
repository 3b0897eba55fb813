use std::time::Duration;

use super::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7)
}

fn rendered(form: Form, message: &str, pairs: &[(&str, Value<'_>)]) -> String {
    line(
        form,
        &Record::builder()
            .level(Level::Warn)
            .target("p2p_node::x")
            .args(format_args!("{message}"))
            .key_values(&pairs)
            .build(),
        at(1_709_210_096),
    )
}

const TEXT: Form = Form::Text { colors: false };

#[test]
fn every_format_renders_key_values() {
    let pairs = [
        ("peer", Value::from("12D3")),
        ("n", Value::from(3u64)),
        ("f", Value::from(0.5)),
    ];
    assert_eq!(
        rendered(TEXT, "met one", &pairs),
        "2024-02-29T12:34:56.007Z WARN  p2p_node::x: met one peer=12D3 n=3 f=0.5\n"
    );
    assert_eq!(
        rendered(Form::Journal, "met one", &pairs),
        "<4>p2p_node::x: met one peer=12D3 n=3 f=0.5\n"
    );
    let json = rendered(Form::Json, "met one", &pairs);
    assert!(
        json.starts_with("{\"ts\":\"2024-02-29T12:34:56.007Z\",\"level\":\"warn\""),
        "{json}"
    );
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["msg"], "met one");
    assert_eq!(json["peer"], "12D3");
    assert_eq!(json["n"], 3);
    assert_eq!(json["f"], 0.5);
}

#[test]
fn a_remote_cannot_forge_a_line_or_drive_a_terminal() {
    let evil = "x\n<0>p2p_node: all is lost\r\x1b[2J\u{202e}\u{85}\"";
    let pairs = [("agent", Value::from(evil)), ("msg", Value::from("other"))];
    for form in [TEXT, Form::Journal, Form::Json] {
        let line = rendered(form, evil, &pairs);
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(line.ends_with('\n'));
        if form != Form::Json {
            assert!(line.trim_end().chars().all(|c| !c.is_control()), "{line:?}");
            assert!(!line.contains('\u{202e}'), "{line:?}");
        } else {
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(json["msg"], evil);
            assert_eq!(json["agent"], evil);
            assert_eq!(json["msg_"], "other");
        }
    }
    let long = "ü".repeat(100_000);
    for form in [TEXT, Form::Journal, Form::Json] {
        assert!(rendered(form, &long, &[("k", Value::from(&*long))]).len() < 3 * MAX_TEXT);
    }
}

#[test]
fn values_that_could_be_mistaken_are_quoted() {
    let pairs = [
        ("a", Value::from("two words")),
        ("b", Value::from("")),
        ("c", Value::from("x=\"y\\")),
    ];
    let line = rendered(Form::Journal, "m", &pairs);
    assert_eq!(
        line,
        "<4>p2p_node::x: m a=\"two words\" b=\"\" c=\"x=\\\"y\\\\\"\n"
    );
}

#[test]
fn the_format_follows_from_what_stderr_is() {
    let pipe = Stderr {
        terminal: false,
        journal: false,
        no_color: false,
    };
    let terminal = Stderr {
        terminal: true,
        ..pipe
    };
    let journal = Stderr {
        journal: true,
        ..pipe
    };
    assert_eq!(Form::choose(LogFormat::Auto, journal), Form::Journal);
    assert_eq!(Form::choose(LogFormat::Auto, pipe), Form::Json);
    assert_eq!(
        Form::choose(LogFormat::Auto, terminal),
        Form::Text { colors: true }
    );
    let plain = Stderr {
        no_color: true,
        ..terminal
    };
    assert_eq!(
        Form::choose(LogFormat::Auto, plain),
        Form::Text { colors: false }
    );
    assert_eq!(
        Form::choose(LogFormat::Text, pipe),
        Form::Text { colors: false }
    );
    assert_eq!(Form::choose(LogFormat::Json, terminal), Form::Json);
    assert_eq!(Form::choose(LogFormat::Journal, terminal), Form::Journal);
}

#[test]
fn journal_stream_is_device_and_inode() {
    assert!(is_stream("8:123", 8, 123));
    for wrong in ["8:124", "9:123", "8", "", "a:b", "8:123:4"] {
        assert!(!is_stream(wrong, 8, 123), "{wrong}");
    }
}

#[test]
fn noisy_modules_are_calmed_unless_somebody_asks_for_more() {
    let level_of = |filter: &str, module: &str| {
        let directives = filters(filter);
        directives
            .iter()
            .find(|(m, _)| *m == Some(module))
            .map(|(_, level)| *level)
    };
    assert_eq!(level_of("", "quinn"), Some(LevelFilter::Warn));
    assert_eq!(level_of("info", "quinn"), Some(LevelFilter::Warn));
    assert_eq!(level_of("error", "quinn"), Some(LevelFilter::Error));
    assert_eq!(filters("debug"), vec![]);
    assert_eq!(filters("info,p2p_node::store=trace"), vec![]);
}

#[test]
fn days_become_dates() {
    for (seconds, date) in [
        (0, "1970-01-01"),
        (951_782_400, "2000-02-29"),
        (951_868_800, "2000-03-01"),
        (1_735_603_200, "2024-12-31"),
        (4_107_542_400, "2100-03-01"),
        (253_402_300_799, "9999-12-31"),
    ] {
        assert!(
            timestamp(at(seconds)).starts_with(date),
            "{seconds}: {}",
            timestamp(at(seconds))
        );
    }
}

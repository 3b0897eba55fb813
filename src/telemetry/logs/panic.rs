//! A panic as a line of the log: where it was, what it said, and the way there.
//!
//! Without this the standard library prints lines of its own form, which journald
//! takes for notices and a collector of JSON for garbage.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::time::SystemTime;

use log::{Level, Record};

use super::{Form, cut, line};
use crate::text::foreign::push_printable;

/// The target of these lines, and of no others.
pub(super) const TARGET: &str = "p2p_node::panic";

/// Critical, as syslog counts.
pub(super) const PRIORITY: u8 = 2;

/// Lines of a backtrace at most: a recursion that ran away has hundreds of thousands.
const MAX_FRAMES: usize = 256;

/// From now on panics are told in `form`.
pub(super) fn tell_in(form: Form) {
    std::panic::set_hook(Box::new(move |info| {
        let trace = Backtrace::capture();
        let text = lines(form, info, &trace, SystemTime::now());
        // Nothing is left to tell that standard error is gone.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }));
}

/// What was said, also in several lines.
fn message<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "a panic without words"
    }
}

fn lines(form: Form, info: &PanicHookInfo<'_>, trace: &Backtrace, now: SystemTime) -> String {
    let place = info
        .location()
        .map_or_else(String::new, ToString::to_string);
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let captured = trace.status() == BacktraceStatus::Captured;
    let trace = if captured {
        trace.to_string()
    } else {
        String::new()
    };
    let mut pairs = vec![("place", place.as_str()), ("thread", thread)];
    // A collector wants one record; a person, one line a frame.
    if captured && form == Form::Json {
        pairs.push(("backtrace", cut(&trace)));
    }
    let told = cut(message(info));
    let mut text = line(
        form,
        &Record::builder()
            .level(Level::Error)
            .target(TARGET)
            .args(format_args!(
                "this is a fault in p2p-node; please report it: {told}"
            ))
            .key_values(&pairs.as_slice())
            .build(),
        now,
    );
    if captured && form != Form::Json {
        for frame in trace.lines().take(MAX_FRAMES) {
            if form == Form::Journal {
                text.push_str(&format!("<{PRIORITY}>{TARGET}: "));
            }
            push_printable(&mut text, frame);
            text.push('\n');
        }
    }
    text
}

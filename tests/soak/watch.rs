//! Anonymous memory and descriptors of the daemons that stay.

use std::time::{Duration, Instant};

use crate::Soak;

/// Pause between two readings.
const EVERY: Duration = Duration::from_secs(5);

/// Anonymous memory may grow by so many KiB a minute in the later half of a run, at
/// the pace of 1.
///
/// Some growth is due: what a daemon is told it remembers for long, within bounds of
/// its own. That is a provider record for each file that anybody announced in the
/// last 48 hours (46 a minute here, half a KiB each), what is known of each peer that
/// is new (seven a minute, 1.5 KiB each, for 1,024 to 16,384 of them), and samples for
/// the status page (2 KiB a minute for an hour). In runs of ten minutes, while pools
/// and caches still fill, 50 to 105 were measured, and 55 to 67 in one of 25 minutes at
/// the pace of 3. In the latter `heaptrack` saw 143 KiB a minute more in use from the
/// 10th to the 24th minute: some 30 for provider records, 30 for addresses, scores and
/// keys of peers, and 20 for the texts of metrics that are kept for a diagnosis, all of
/// which have a bound here; and 40 for gossipsub's tables of messages and 30 for buffers
/// of blocks, whose bounds were not looked up. In 55 minutes of the release build at the
/// pace of 1, on a loaded machine, 48 to 76 were measured in the later half (12,765
/// messages, 3,199 puts, 1,685 comings and goings; nothing failed). In a run of 32 minutes
/// at that pace one daemon was under `heaptrack` in the release build: from the 18th to
/// the 32nd minute it had 34 KiB a minute more in use, of which 23 were provider records
/// of the DHT and the rest was spread over what else is listed here. The tables of
/// gossip and the buffers of blocks did not grow any more. A leak that matters is far
/// above: what one connection takes, lost at each coming and going, would be 1,000.
const MOST_KIB_A_MINUTE: f64 = 128.0;

/// Descriptors may grow by so many a minute in the later half of a run, at any pace.
/// Connections come and go by a dozen, which makes a slope of a few tenths in ten
/// minutes; one that stays open for each coming and going would be 27.
const MOST_DESCRIPTORS_A_MINUTE: f64 = 1.0;

/// Minutes that a run must have before its slopes say anything: gossipsub remembers
/// what it heard for two, and pools fill in the first few.
const MINUTES_OF_A_SLOPE: f64 = 10.0;

/// One reading of one daemon.
#[derive(Clone, Copy)]
struct Reading {
    minutes: f64,
    anonymous_kib: f64,
    descriptors: f64,
}

/// The readings of each daemon.
pub(crate) struct Watched(Vec<Vec<Reading>>);

/// Reads until the soak is over.
pub(crate) async fn until_the_end(soak: &Soak) -> Watched {
    let begun = Instant::now();
    let mut all = vec![Vec::new(); soak.steady.len()];
    let mut printed = 0.0;
    loop {
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        for (member, readings) in soak.steady.iter().zip(&mut all) {
            readings.push(Reading {
                minutes,
                anonymous_kib: member.daemon().memory("RssAnon"),
                descriptors: descriptors(member.daemon().pid()),
            });
        }
        if minutes >= printed {
            printed += 1.0;
            let each = all.iter().filter_map(|readings| readings.last());
            let each: Vec<String> = each
                .map(|r| {
                    format!(
                        "{:.0} KiB, {:.0} descriptors",
                        r.anonymous_kib, r.descriptors
                    )
                })
                .collect();
            println!("{minutes:.0} min: {}", each.join("; "));
        }
        if Instant::now() >= soak.end {
            return Watched(all);
        }
        async_io::Timer::after(EVERY).await;
    }
}

impl Watched {
    /// Prints how each grew; gives what grew over its bound, in words.
    pub(crate) fn report(&self, pace: f64) -> Vec<String> {
        let mut over = Vec::new();
        println!(
            "| daemon | anonymous KiB: first, middle, last | KiB a minute | descriptors: first, last | a minute |"
        );
        println!("|---|---|---|---|---|");
        for (n, readings) in self.0.iter().enumerate() {
            let later = &readings[readings.len() / 2..];
            let [first, .., last] = readings.as_slice() else {
                continue;
            };
            let memory = slope(later, |r| r.anonymous_kib);
            let files = slope(later, |r| r.descriptors);
            println!(
                "| {n} | {:.0}, {:.0}, {:.0} | {memory:.1} | {:.0}, {:.0} | {files:.2} |",
                first.anonymous_kib,
                later[0].anonymous_kib,
                last.anonymous_kib,
                first.descriptors,
                last.descriptors
            );
            if last.minutes < MINUTES_OF_A_SLOPE {
                continue;
            }
            if memory > MOST_KIB_A_MINUTE * pace {
                over.push(format!(
                    "anonymous memory of daemon {n}: {memory:.1} KiB a minute"
                ));
            }
            if files > MOST_DESCRIPTORS_A_MINUTE {
                over.push(format!("descriptors of daemon {n}: {files:.2} a minute"));
            }
        }
        over
    }
}

/// The slope of the line through the readings with the least squares, a minute.
fn slope(readings: &[Reading], value: impl Fn(&Reading) -> f64) -> f64 {
    let count = readings.len() as f64;
    let mean_x = readings.iter().map(|r| r.minutes).sum::<f64>() / count;
    let mean_y = readings.iter().map(&value).sum::<f64>() / count;
    let mut above = 0.0;
    let mut below = 0.0;
    for reading in readings {
        let x = reading.minutes - mean_x;
        above += x * (value(reading) - mean_y);
        below += x * x;
    }
    if below == 0.0 { 0.0 } else { above / below }
}

fn descriptors(pid: u32) -> f64 {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    entries.count() as f64
}

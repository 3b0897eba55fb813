//! The metrics of the last minutes, for a diagnosis that cannot wait for them.
//!
//! An operator asks once what is wrong, and counters since the start do not tell what
//! happens now. On a host without Prometheus nothing else records them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;

use super::registry::Registry;

/// Time between two entries.
const EVERY: Duration = Duration::from_secs(60);

/// Entries kept: what lies within the window of the alert rules, five minutes,
/// and one more, so that the whole window is covered at any moment. An entry has
/// some 30 KiB.
const KEPT: usize = 6;

/// The text without the spare room of the buffer that it was rendered into: buffers grow by
/// doubling, and a text just above 32 KiB would keep 64.
type Entries = VecDeque<(Instant, Box<str>)>;

/// The text of `/metrics` some time ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// How long ago.
    pub age: Duration,
    /// The text.
    pub metrics: String,
}

/// The metrics as text, one entry a minute. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct History {
    entries: Arc<Mutex<Entries>>,
}

impl History {
    /// Adds an entry now and then every minute, for ever.
    pub async fn write(self, registry: Registry) {
        let mut ticks = async_io::Timer::interval(EVERY);
        loop {
            let (history, registry) = (self.clone(), registry.clone());
            // Rendering reads /proc.
            async_std::task::spawn_blocking(move || {
                if let Ok(text) = registry.render() {
                    history.add(Instant::now(), text);
                }
            })
            .await;
            if ticks.next().await.is_none() {
                return;
            }
        }
    }

    fn add(&self, at: Instant, text: String) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back((at, text.into_boxed_str()));
    }

    /// All entries with their ages at `now`, the oldest first.
    pub fn all(&self, now: Instant) -> Vec<Earlier> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .map(|(at, text)| Earlier {
                age: now.saturating_duration_since(*at),
                metrics: text.to_string(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entries_are_kept() {
        let history = History::default();
        let start = Instant::now();
        for i in 0..10u32 {
            history.add(start + i * EVERY, i.to_string());
        }
        let all = history.all(start + 10 * EVERY);
        assert_eq!(all.len(), KEPT);
        assert_eq!((all[0].age, all[0].metrics.as_str()), (6 * EVERY, "4"));
        assert_eq!((all[5].age, all[5].metrics.as_str()), (EVERY, "9"));
    }
}

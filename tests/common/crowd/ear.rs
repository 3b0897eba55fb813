//! A program that subscribes to a topic at a daemon.

use std::sync::{Arc, Mutex};

use async_std::task::JoinHandle;
use futures::FutureExt;

use super::Member;

/// A subscription, and the words that have come through it so far.
pub(crate) struct Ear {
    heard: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Ear {
    /// Subscribes to `topic` at `member`, until the daemon ends or this is dropped.
    pub(crate) async fn at(member: &Member, topic: &str) -> Ear {
        let mut subscription = member.client().await.subscribe(&[topic]).await.unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let words = heard.clone();
        let reader = async_std::task::spawn(async move {
            while let Ok(message) = subscription.next().await {
                let word = String::from_utf8_lossy(&message.data).into_owned();
                words.lock().unwrap().push(word);
            }
        });
        Ear {
            heard,
            reader: Some(reader),
        }
    }

    /// How often it has heard exactly this.
    pub(crate) fn times(&self, word: &str) -> usize {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|w| *w == word).count()
    }

    /// Whether it has heard exactly this.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.times(word) > 0
    }

    /// What it has heard that begins with `start`, in the order in which it came.
    pub(crate) fn words(&self, start: &str) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let words = heard.iter().filter(|w| w.starts_with(start));
        words.cloned().collect()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            // The first poll of it marks the task, whose end drops the subscription.
            let _ = reader.cancel().now_or_never();
        }
    }
}

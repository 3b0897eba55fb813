//! Files that one daemon puts and another gets immediately afterwards.

use std::time::Instant;

use crate::common::noise;
use crate::crowd::Member;

/// The length of a file here, in bytes: that of a picture or a document.
pub(crate) const FILE_BYTES: usize = 300_000;

/// What a file's way from one daemon to another was like.
pub(crate) enum Outcome {
    /// It came, within so many seconds.
    Came(f64),
    /// Why it did not.
    Failed(String),
}

/// `from` puts a file that nobody has yet, and `to` gets it at once.
pub(crate) async fn pass(from: &Member, to: &Member, seed: u64) -> Outcome {
    let bytes = noise(FILE_BYTES, seed);
    let cid = match from.put(&bytes).await {
        Ok(cid) => cid,
        Err(e) => return Outcome::Failed(format!("put: {e}")),
    };
    let begun = Instant::now();
    match to.get(&cid).await {
        Ok(got) if got == bytes => Outcome::Came(begun.elapsed().as_secs_f64()),
        Ok(got) => Outcome::Failed(format!("other bytes came, {} of them", got.len())),
        Err(e) => Outcome::Failed(format!(
            "get failed after {:.1} s: {e}",
            begun.elapsed().as_secs_f64()
        )),
    }
}

/// Prints how it went; gives what did not come, in words.
pub(crate) fn failures_of(when: &str, outcomes: &[Outcome]) -> Vec<String> {
    let mut times: Vec<f64> = Vec::new();
    let mut failures = Vec::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Came(seconds) => times.push(*seconds),
            Outcome::Failed(why) => failures.push(format!("{when}: {why}")),
        }
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{when}: {} of {} files came, in {times:.2?} s",
        times.len(),
        outcomes.len()
    );
    failures
}

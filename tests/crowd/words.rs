//! Messages that must reach all subscribers.

use std::time::Instant;

use crate::crowd::{Ear, Member, eventually};

/// `from` says something new again and again until `ears` have all heard one word
/// of it: while a link is being made, what is said over it is lost.
pub(crate) async fn until_heard(what: &str, from: &Member, topic: &str, ears: &[&Ear]) {
    let begun = Instant::now();
    let start = format!("{what} until heard ");
    let mut n = 0;
    eventually(
        &format!("{what} is heard by all of {}", ears.len()),
        async || {
            n += 1;
            // Nobody may be there to hear it yet, which is an error.
            let _ = from.publish(topic, &format!("{start}{n}")).await;
            let all = ears.iter().all(|ear| !ear.words(&start).is_empty());
            all.then_some(())
        },
    )
    .await;
    println!("{what}: heard after {:.1} s", begun.elapsed().as_secs_f64());
}

/// Each of `from` says one word; every one of `ears` must hear each word once.
pub(crate) async fn everybody_hears(what: &str, from: &[&Member], topic: &str, ears: &[Ear]) {
    let begun = Instant::now();
    let mut words = Vec::new();
    for (n, member) in from.iter().enumerate() {
        let word = format!("{what} {n}");
        if let Err(e) = member.publish(topic, &word).await {
            panic!("{what}: message {n} could not be published: {e}");
        }
        words.push(word);
    }
    eventually(
        &format!("{what}: every message is heard by all"),
        async || {
            let all = |ear: &Ear| words.iter().all(|word| ear.has(word));
            ears.iter().all(all).then_some(())
        },
    )
    .await;
    for ear in ears {
        for word in &words {
            assert_eq!(ear.times(word), 1, "{what}: {word} came more than once");
        }
    }
    println!(
        "{what}: {} messages to {} subscribers within {:.1} s",
        words.len(),
        ears.len(),
        begun.elapsed().as_secs_f64()
    );
}

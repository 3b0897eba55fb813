//! The life of a network of sixty.

use async_std::task::block_on;

use crate::crowd::{Crowd, Draw, Ear, Member, start_all};
use crate::files::{Outcome, failures_of, pass};
use crate::many;
use crate::words::{everybody_hears, until_heard};

const MEMBERS: usize = 60;

/// Of the members, those that are killed at once.
const KILLED: usize = 18;

/// Files that are put and fetched in each part of the life.
const FILES: u64 = 12;

/// Messages from random members in each part of the life.
const MESSAGES: usize = 20;

const TOPIC: &str = "/p2p-node/crowd";

#[test]
fn sixty_daemons_pass_files_and_messages_whatever_dies() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let topic = [("P2P_TOPICS", TOPIC)];
        let mut crowd = Crowd::start(dir.path(), &topic, MEMBERS, &topic).await;
        let mut draw = Draw(1);
        let mut failures = works("at first", &crowd, &mut draw).await;
        let many = many::put(&crowd, KILLED).await;
        many::all_are_found("at first", &crowd, &many, &mut draw).await;

        // Any that are in a row are as good as any others: nothing that the network
        // goes by depends on the order in which they were started.
        for member in &mut crowd.members[..KILLED] {
            member.kill();
        }
        crowd.door.kill();
        many::all_are_found("after the death of many", &crowd, &many, &mut draw).await;
        failures.extend(works("after the death of many", &crowd, &mut draw).await);

        // And of all, as in a power cut. Nobody is left to enter through, so that each
        // goes by what it has written down in the minutes that it has lived.
        for member in &mut crowd.members {
            member.kill();
        }
        start_all(crowd.members.iter_mut().collect()).await;
        failures.extend(works("after all were started again", &crowd, &mut draw).await);
        assert!(failures.is_empty(), "{failures:#?}");
    });
}

/// Files and messages pass between those that run; the files that did not.
async fn works(when: &str, crowd: &Crowd, draw: &mut Draw) -> Vec<String> {
    let living: Vec<&Member> = crowd.members.iter().filter(|m| m.runs()).collect();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for _ in 0..FILES {
        let first = draw.below(living.len());
        let second = (first + 1 + draw.below(living.len() - 1)) % living.len();
        let seed = draw.below(usize::MAX) as u64;
        outcomes.push(pass(living[first], living[second], seed).await);
    }

    let mut ears = Vec::new();
    for member in &living {
        ears.push(Ear::at(member, TOPIC).await);
    }
    let speakers: Vec<&Member> = (0..MESSAGES)
        .map(|_| living[draw.below(living.len())])
        .collect();
    let all: Vec<&Ear> = ears.iter().collect();
    until_heard(when, speakers[0], TOPIC, &all).await;
    everybody_hears(when, &speakers, TOPIC, &ears).await;
    failures_of(when, &outcomes)
}

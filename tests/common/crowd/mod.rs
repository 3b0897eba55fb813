//! Many daemons on loopback that entered their network through one, asked over
//! their control sockets: a process for each question would take longer than the
//! answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]
#![allow(dead_code, reason = "each test program uses a part of it")]

mod ear;
mod member;

use std::path::Path;

pub(crate) use ear::Ear;
pub(crate) use member::Member;

pub(crate) use crate::common::eventually_async as eventually;

/// The daemon through which all others joined, and these others.
pub(crate) struct Crowd {
    pub(crate) door: Member,
    pub(crate) members: Vec<Member>,
}

impl Crowd {
    /// Starts the door with the variables `door`, then `count` daemons with those of
    /// `members`, all at once, and waits until each is ready and knows somebody.
    pub(crate) async fn start(
        dir: &Path,
        door: &[(&str, &str)],
        count: usize,
        members: &[(&str, &str)],
    ) -> Crowd {
        let mut variables = vec![("P2P_BOOTSTRAP", "true")];
        variables.extend(door);
        let mut door = Member::on_loopback(dir.join("door"), &variables);
        door.start().await;
        let mut crowd = Crowd {
            door,
            members: Vec::new(),
        };
        crowd.grow(dir, count, members).await;
        crowd
    }

    /// Starts `count` more daemons at once, and waits until each is ready and knows
    /// somebody.
    pub(crate) async fn grow(&mut self, dir: &Path, count: usize, variables: &[(&str, &str)]) {
        let address = self.door.address().await;
        let mut all = vec![("P2P_BOOTSTRAP_PEERS", address.as_str())];
        all.extend(variables);
        let first = self.members.len();
        for n in first..first + count {
            let dir = dir.join(format!("member{n}"));
            self.members.push(Member::on_loopback(dir, &all));
        }
        start_all(self.members[first..].iter_mut().collect()).await;
    }
}

/// Starts daemons at once and waits until each is ready and knows somebody.
pub(crate) async fn start_all(mut members: Vec<&mut Member>) {
    for member in &mut members {
        member.spawn();
    }
    for member in members {
        member.ready().await;
        member.knows_somebody().await;
    }
}

/// Numbers that look random and are the same in each run (splitmix64).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

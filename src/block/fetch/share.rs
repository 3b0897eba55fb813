//! Lets simultaneous fetches of the same content ask the network only once.
//!
//! The first of them leads: it asks for what is missing. The others follow: they take
//! blocks from the store when the leader has stored them. The leader does so from time to
//! time while another fetch follows, and at its end. When the leader ends, for whatever
//! reason, the next one leads and goes on from there.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use cid::Cid;

use super::leader_failure::LeaderFailure;
use crate::content::fetch::Reason;

/// The fetches of a node that are under way, by content. There are as many as there are
/// fetches, whose number the control socket limits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sharing(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    next: u64,
    by_root: HashMap<Cid, Group>,
}

#[derive(Debug, Default)]
struct Group {
    /// The first of them leads.
    members: VecDeque<Member>,
    /// Why the leader has not got the content so far.
    reason: Option<Reason>,
    /// Why the leader gives up, for the members that remain after it.
    failure: Option<LeaderFailure>,
    /// When the leader last reported that bytes are arriving.
    progressed: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    id: u64,
    /// Whether there is news that it has not taken in.
    news: bool,
    /// Whether it waits for blocks of the leader.
    waits: bool,
    /// Why the previous leader gave up, until this member has taken it in.
    failure: Option<LeaderFailure>,
    waker: Option<Waker>,
}

impl Member {
    fn tell(&mut self) {
        self.news = true;
        // It looks into the store first, and then reports again whether it waits.
        self.waits = false;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Sharing {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // No code that holds the lock can panic in the middle of a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes part in fetching `root`, until the result is dropped.
    pub(crate) fn join(&self, root: Cid) -> Share {
        let mut shared = self.lock();
        shared.next += 1;
        let id = shared.next;
        let group = shared.by_root.entry(root).or_default();
        group.members.push_back(Member {
            id,
            news: false,
            waits: false,
            failure: None,
            waker: None,
        });
        Share {
            sharing: self.clone(),
            root,
            id,
        }
    }
}

/// The part of one fetch in a shared fetch.
#[derive(Debug)]
pub(crate) struct Share {
    sharing: Sharing,
    root: Cid,
    id: u64,
}

impl Share {
    fn group<T>(&self, look: impl FnOnce(&mut Group) -> T) -> Option<T> {
        self.sharing.lock().by_root.get_mut(&self.root).map(look)
    }

    fn with<T>(&self, look: impl FnOnce(&mut VecDeque<Member>) -> T) -> Option<T> {
        self.group(|group| look(&mut group.members))
    }

    /// Records why this fetch, which leads, has not got the content so far.
    pub(crate) fn explain(&self, reason: Reason) {
        self.group(|group| group.reason = Some(reason));
    }

    /// Records why this fetch, which leads, gives up. The others are told when this is
    /// dropped.
    pub(crate) fn give_up(&self, failure: LeaderFailure) {
        if self.leads() {
            self.group(|group| group.failure = Some(failure));
        }
    }

    /// Returns why the leader has not got the content.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.group(|group| group.reason.clone())?
    }

    /// Returns why the previous leader gave up. This is returned only once.
    pub(crate) fn leader_failure(&self) -> Option<LeaderFailure> {
        self.with(|all| {
            let member = all.iter_mut().find(|member| member.id == self.id)?;
            member.failure.take()
        })?
    }

    /// Records that bytes are arriving for this fetch, which leads, even if none of the
    /// blocks is complete yet.
    pub(crate) fn show_progress(&self, now: Instant) {
        self.group(|group| group.progressed = Some(now));
    }

    /// Returns when the leader last reported progress.
    pub(crate) fn last_progress(&self) -> Option<Instant> {
        self.group(|group| group.progressed)?
    }

    /// Returns whether this fetch asks the network.
    pub(crate) fn leads(&self) -> bool {
        self.with(|all| all.front().is_some_and(|first| first.id == self.id))
            .unwrap_or(true)
    }

    /// Returns whether another fetch waits for blocks that this fetch has but has not
    /// stored.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.with(|all| {
            all.iter()
                .any(|member| member.waits && member.id != self.id)
        })
        .unwrap_or(false)
    }

    /// Lets another fetch lead that waits for blocks that this one does not need. This
    /// happens, for instance, when the store has lost a block that this fetch has read.
    /// Returns whether there was such a fetch.
    pub(crate) fn pass_on(&self) -> bool {
        self.with(|all| {
            let waits = |member: &Member| member.waits && member.id != self.id;
            let Some(at) = all.iter().position(waits) else {
                return false;
            };
            if let Some(mut next) = all.remove(at) {
                next.tell();
                all.push_front(next);
            }
            true
        })
        .unwrap_or(false)
    }

    /// Records whether this fetch waits for blocks of the leader.
    pub(crate) fn wait(&self, waits: bool) {
        self.with(|all| {
            if let Some(member) = all.iter_mut().find(|member| member.id == self.id) {
                member.waits = waits;
            }
        });
    }

    /// Tells the others that there are more blocks in the store.
    pub(crate) fn stored(&self) {
        self.with(|all| {
            let others = all.iter_mut().filter(|member| member.id != self.id);
            others.for_each(Member::tell);
        });
    }

    /// Returns whether there is news since the last call: more blocks in the store, or
    /// another leader. If there is none, the next news wakes `waker`.
    pub(crate) fn has_news(&self, waker: &Waker) -> bool {
        self.with(|all| {
            let Some(member) = all.iter_mut().find(|member| member.id == self.id) else {
                return false;
            };
            if !member.news {
                member.waker = Some(waker.clone());
            }
            std::mem::take(&mut member.news)
        })
        .unwrap_or(false)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shared = self.sharing.lock();
        let Some(group) = shared.by_root.get_mut(&self.root) else {
            return;
        };
        let all = &mut group.members;
        let led = all.front().is_some_and(|first| first.id == self.id);
        all.retain(|member| member.id != self.id);
        if led {
            let failure = group.failure.take();
            for member in all.iter_mut() {
                member.failure.clone_from(&failure);
                member.tell();
            }
        }
        if all.is_empty() {
            shared.by_root.remove(&self.root);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::content::address::{Codec, address};

    #[test]
    fn the_first_leads_and_the_next_when_it_ends() {
        let sharing = Sharing::default();
        let (one, two) = (address(b"1", Codec::Raw), address(b"2", Codec::Raw));
        let waker = Waker::noop();
        let first = sharing.join(one);
        let second = sharing.join(one);
        let third = sharing.join(one);
        let other = sharing.join(two);
        let leads = |all: [&Share; 3]| all.map(Share::leads);
        assert!(other.leads());
        assert_eq!(leads([&first, &second, &third]), [true, false, false]);
        assert!(!first.is_waited_for());
        second.wait(true);
        assert!(first.is_waited_for() && !other.is_waited_for());
        second.wait(false);
        assert!(!first.is_waited_for());

        first.stored();
        assert!(!first.has_news(waker) && !other.has_news(waker));
        assert!(second.has_news(waker) && third.has_news(waker));
        assert!(!second.has_news(waker), "told once");
        // The end of a follower is no news for the others.
        let fourth = sharing.join(one);
        drop(fourth);
        assert!(!second.has_news(waker));
        drop(first);
        assert!(second.has_news(waker) && third.has_news(waker));
        assert!(second.leads() && !third.leads());
        // A leader that needs nothing lets another one lead that needs something.
        assert!(!second.pass_on() && second.leads());
        third.wait(true);
        assert!(second.pass_on() && third.leads() && !second.leads());
        assert!(third.has_news(waker) && !third.is_waited_for());
        drop((second, third, other));
        assert!(sharing.lock().by_root.is_empty());
    }

    #[test]
    fn why_the_leader_gave_up_is_heard_once_by_those_who_were_there() {
        let sharing = Sharing::default();
        let root = address(b"1", Codec::Raw);
        let [first, second, third] = [0; 3].map(|_| sharing.join(root));
        let now = Instant::now();
        let failure = |last: &str| LeaderFailure {
            reason: Reason::default(),
            last: last.into(),
            connected: false,
            is_final: false,
        };
        second.give_up(failure("of one that does not lead"));
        first.show_progress(now);
        assert_eq!(third.last_progress(), Some(now));
        first.give_up(failure("gone"));
        assert!(second.leader_failure().is_none(), "not while it is there");
        drop(first);
        let late = sharing.join(root);
        assert_eq!(second.leader_failure().map(|v| v.last), Some("gone".into()));
        assert!(second.leader_failure().is_none());
        assert!(late.leader_failure().is_none());
        // The second leader did not give up, so that there is nothing to report.
        drop(second);
        assert!(third.leader_failure().is_none());
    }

    #[test]
    fn a_verdict_settles_for_who_has_waited_about_as_long() {
        let second = Duration::from_secs(1);
        for (is_final, waited, settled) in [
            (false, 29, false),
            (false, 30, true),
            (true, 4, false),
            (true, 5, true),
        ] {
            let failure = LeaderFailure {
                reason: Reason::default(),
                last: String::new(),
                connected: false,
                is_final,
            };
            let settles = failure.ends_those_who_waited(second * waited, second * 60, second * 10);
            assert_eq!(settles, settled, "{is_final} {waited}");
        }
    }
}

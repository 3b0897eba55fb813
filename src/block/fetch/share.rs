//! Fetches of the same content at the same time, which ask the network once.
//!
//! The first of them leads: it asks for what is missing. The others follow: they
//! take blocks from the store when the leader has written them down, which it does
//! from time to time while somebody follows, and at its end. When the leader ends,
//! however that is, the next one leads and goes on from there.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use cid::Cid;

use super::reason::Reason;

/// The fetches of a node that are under way, by content. As many as there are
/// fetches, which the control socket bounds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sharing(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    next: u64,
    by_root: HashMap<Cid, Group>,
}

#[derive(Debug, Default)]
struct Group {
    /// The first leads.
    members: VecDeque<Member>,
    /// Why the leader has not got it so far.
    reason: Option<Reason>,
    /// That is why it gave up.
    is_final: bool,
}

#[derive(Debug)]
struct Member {
    id: u64,
    /// There is news that it has not heard.
    news: bool,
    /// It waits for blocks of the leader.
    waits: bool,
    waker: Option<Waker>,
}

impl Member {
    fn tell(&mut self) {
        self.news = true;
        // It looks first, and says again what it waits for.
        self.waits = false;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Sharing {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing that holds it can panic half-way through a change.
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
            waker: None,
        });
        Share {
            sharing: self.clone(),
            root,
            id,
        }
    }
}

/// One fetch's part in it.
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

    /// Says why the leader, which this fetch is, has not got it so far, or why it
    /// gives up.
    pub(crate) fn explain(&self, reason: Reason, is_final: bool) {
        self.group(|group| {
            group.reason = Some(reason);
            group.is_final = is_final;
        });
    }

    /// Why the leader has not got it, and whether it gave up for that.
    pub(crate) fn reason(&self) -> Option<(Reason, bool)> {
        self.group(|group| Some((group.reason.clone()?, group.is_final)))?
    }

    /// Whether this fetch asks the network.
    pub(crate) fn leads(&self) -> bool {
        self.with(|all| all.front().is_some_and(|first| first.id == self.id))
            .unwrap_or(true)
    }

    /// Whether another waits for what this fetch has and has not written down.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.with(|all| {
            all.iter()
                .any(|member| member.waits && member.id != self.id)
        })
        .unwrap_or(false)
    }

    /// Lets one lead that waits for what this fetch does not need, as when the store
    /// lost a block that this one has read. Whether there was one.
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

    /// Waits for what the leader brings, or no longer.
    pub(crate) fn wait(&self, waits: bool) {
        self.with(|all| {
            if let Some(member) = all.iter_mut().find(|member| member.id == self.id) {
                member.waits = waits;
            }
        });
    }

    /// Tells the others that there is more in the store.
    pub(crate) fn stored(&self) {
        self.with(|all| {
            let others = all.iter_mut().filter(|member| member.id != self.id);
            others.for_each(Member::tell);
        });
    }

    /// Whether there is news since the last call: more in the store, or another
    /// leader. When there is none, `waker` is woken by the next.
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
            all.iter_mut().for_each(Member::tell);
        }
        if all.is_empty() {
            shared.by_root.remove(&self.root);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::address::{Codec, address};

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
        // A follower that ends is nobody's news.
        let fourth = sharing.join(one);
        drop(fourth);
        assert!(!second.has_news(waker));
        drop(first);
        assert!(second.has_news(waker) && third.has_news(waker));
        assert!(second.leads() && !third.leads());
        // Who needs nothing lets another lead that does.
        assert!(!second.pass_on() && second.leads());
        third.wait(true);
        assert!(second.pass_on() && third.leads() && !second.leads());
        assert!(third.has_news(waker) && !third.is_waited_for());
        drop((second, third, other));
        assert!(sharing.lock().by_root.is_empty());
    }
}

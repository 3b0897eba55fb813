//! The places of clients of the control socket.
//!
//! There are [`MAX_CLIENTS`] places. One user may hold [`MAX_CLIENTS_OF_A_USER`] of them,
//! so that a broken program of one user does not lock the others out; root and the
//! daemon's own user may hold all. When there is no place, a newcomer gets that of the
//! oldest client that has not asked anything yet. If all have asked something, the newcomer
//! becomes a guest: it may ask how the node is, and nothing else, unless it is root or the
//! daemon's own user, who may need the socket to mend what is wrong. So `status` and
//! `health`, and with them the health check of a container, always have an answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::AbortHandle;

/// The maximum number of clients at once. Each of them holds a descriptor. Programs that
/// open a connection for each stream need hundreds of connections, and a thousand would use
/// up descriptors that peers need.
pub const MAX_CLIENTS: usize = 512;

/// The maximum number of clients of one user who is neither root nor the daemon's own. It
/// leaves 64 places to other users.
pub const MAX_CLIENTS_OF_A_USER: usize = 448;

/// The maximum number of guests. A guest's question is answered within milliseconds. The
/// oldest one makes room for the next, and those who are neither root nor the daemon's own
/// user come first.
const MAX_GUESTS: usize = 32;

/// Who is on the other end of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    /// Root, or the user as whom this daemon runs.
    pub(super) privileged: bool,
}

#[derive(Debug)]
struct Client {
    user: User,
    /// It has not asked anything yet.
    silent: bool,
    guest: bool,
    abort: AbortHandle,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// By their order of arrival, at most [`MAX_CLIENTS`] and [`MAX_GUESTS`].
    clients: BTreeMap<u64, Client>,
}

/// The clients that are connected. Clones are handles to the same state.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients(Arc<Mutex<State>>);

/// The place of one client, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    clients: Clients,
    id: u64,
    user: User,
    guest: bool,
}

/// What it took to give a client its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// There was room.
    Free,
    /// Another client was ended.
    Displaced,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a place to a client of `user`. To end the client later means `abort`.
    pub(super) fn enter(&self, user: User, abort: AbortHandle) -> (Place, Entry) {
        let mut state = self.lock();
        let (guest, entry) = state.make_room(user);
        let id = state.next;
        state.next += 1;
        state.clients.insert(
            id,
            Client {
                user,
                silent: true,
                guest,
                abort,
            },
        );
        let place = Place {
            clients: self.clone(),
            id,
            user,
            guest,
        };
        (place, entry)
    }
}

impl State {
    /// Makes room for one more client of `user`, and says whether it is a guest.
    fn make_room(&mut self, user: User) -> (bool, Entry) {
        let regular = || self.clients.values().filter(|client| !client.guest);
        let of_user = regular().filter(|client| client.user.uid == user.uid);
        let over_share = !user.privileged && of_user.count() >= MAX_CLIENTS_OF_A_USER;
        if regular().count() < MAX_CLIENTS && !over_share {
            return (false, Entry::Free);
        }
        let uid = over_share
            .then_some(user.uid)
            .or_else(|| self.most_silent());
        let silent =
            |client: &Client| !client.guest && client.silent && Some(client.user.uid) == uid;
        if self.end_oldest(silent) {
            return (false, Entry::Displaced);
        }
        let guests = self.clients.values().filter(|client| client.guest).count();
        if guests < MAX_GUESTS {
            return (true, Entry::Free);
        }
        let _ = self.end_oldest(|client| client.guest && !client.user.privileged)
            || self.end_oldest(|client| client.guest);
        (true, Entry::Displaced)
    }

    /// The user who has the most clients that have not asked anything.
    fn most_silent(&self) -> Option<u32> {
        let mut silent: HashMap<u32, usize> = HashMap::new();
        for client in self.clients.values().filter(|c| !c.guest && c.silent) {
            *silent.entry(client.user.uid).or_default() += 1;
        }
        let most = silent.into_iter().max_by_key(|(uid, count)| (*count, *uid));
        most.map(|(uid, _)| uid)
    }

    fn end_oldest(&mut self, may_go: impl Fn(&Client) -> bool) -> bool {
        let oldest = self.clients.iter().find(|(_, client)| may_go(client));
        let Some(client) = oldest
            .map(|(id, _)| *id)
            .and_then(|id| self.clients.remove(&id))
        else {
            return false;
        };
        client.abort.abort();
        true
    }
}

impl Place {
    /// Notes that the client has asked something, and so does not give up its place to a
    /// newcomer any more.
    pub(super) fn asked(&self) {
        if let Some(client) = self.clients.lock().clients.get_mut(&self.id) {
            client.silent = false;
        }
    }

    /// Whether the client is root or the daemon's own user.
    pub(super) fn is_privileged(&self) -> bool {
        self.user.privileged
    }

    /// Whether the client came when there was no place, and may ask only how the node is.
    pub(super) fn is_guest(&self) -> bool {
        self.guest
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.lock().clients.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: User = User {
        uid: 1000,
        privileged: false,
    };
    const BOB: User = User {
        uid: 1001,
        privileged: false,
    };
    const ROOT: User = User {
        uid: 0,
        privileged: true,
    };

    fn enter(clients: &Clients, user: User) -> (Place, AbortHandle, Entry) {
        let (abort, _) = AbortHandle::new_pair();
        let (place, entry) = clients.enter(user, abort.clone());
        (place, abort, entry)
    }

    #[test]
    fn one_user_leaves_places_to_others() {
        let clients = Clients::default();
        let hers: Vec<_> = (0..MAX_CLIENTS_OF_A_USER)
            .map(|_| enter(&clients, ALICE))
            .collect();
        hers.iter().for_each(|(place, ..)| place.asked());
        let (more, _, _) = enter(&clients, ALICE);
        assert!(more.is_guest());
        let (his, _, entry) = enter(&clients, BOB);
        assert!(!his.is_guest());
        assert_eq!(entry, Entry::Free);
        drop(hers);
        assert!(!enter(&clients, ALICE).0.is_guest());
    }

    #[test]
    fn silent_clients_give_up_their_places_and_others_keep_theirs() {
        let clients = Clients::default();
        let theirs: Vec<_> = (0..MAX_CLIENTS).map(|_| enter(&clients, ROOT)).collect();
        // All but the second and the last one have asked something.
        for (n, (place, ..)) in theirs.iter().enumerate() {
            if n != 1 && n != MAX_CLIENTS - 1 {
                place.asked();
            }
        }
        let ended = || {
            let ended =
                |(_, (_, abort, _)): &(usize, &(Place, AbortHandle, Entry))| abort.is_aborted();
            let all = theirs.iter().enumerate().filter(ended);
            all.map(|(n, _)| n).collect::<Vec<_>>()
        };
        let first = enter(&clients, BOB);
        assert_eq!((first.0.is_guest(), first.2), (false, Entry::Displaced));
        first.0.asked();
        assert_eq!(ended(), [1]);
        let second = enter(&clients, ROOT);
        second.0.asked();
        assert_eq!(ended(), [1, MAX_CLIENTS - 1]);
        let guests: Vec<_> = (0..MAX_GUESTS).map(|_| enter(&clients, ROOT)).collect();
        assert!(guests.iter().all(|(place, ..)| place.is_guest()));
        assert!(guests.iter().all(|(_, abort, _)| !abort.is_aborted()));
        // The oldest guest makes room for the next.
        let (_next, next, entry) = enter(&clients, BOB);
        assert_eq!(entry, Entry::Displaced);
        assert!(guests[0].1.is_aborted() && !guests[1].1.is_aborted());
        // One of another user goes before those of root.
        let (_last, _, _) = enter(&clients, ROOT);
        assert!(next.is_aborted() && !guests[1].1.is_aborted());
        assert_eq!(ended(), [1, MAX_CLIENTS - 1]);
    }
}

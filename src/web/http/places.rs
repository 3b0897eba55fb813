//! The places of clients, and who gives up a place when a newcomer needs one.
//!
//! A client that is honest has sent its request when it is accepted, and has taken the
//! answer some milliseconds later. So whoever still occupies a place when all are taken is
//! slow, on purpose or not, and nobody has to wait for him: a newcomer gets the place of
//! a client that has its answer already, or else of one that has not sent a whole request
//! yet, or else of one that is being answered. Among these, it is the oldest client of the
//! address that holds the most places, so that one host does not displace all others.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use futures::future::AbortHandle;

/// How far the serving of a client has got. The order is that in which clients give up
/// their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It has its answer, and what it still sends is discarded.
    Answered,
    /// It has not sent a whole request.
    Asking,
    /// Its answer is being sent.
    Answering,
}

#[derive(Debug)]
struct Client {
    network: IpAddr,
    stage: Stage,
    abort: AbortHandle,
}

/// The clients that are being served.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    /// The most that may be in the stage [`Stage::Answering`].
    most_answers: usize,
    next: u64,
    /// By their order of arrival.
    clients: BTreeMap<u64, Client>,
}

impl Places {
    /// `most` is the number of places, and `most_answers` how many clients may be in the
    /// middle of their answers.
    pub(super) fn new(most: usize, most_answers: usize) -> Self {
        Places {
            most: most.max(1),
            most_answers: most_answers.max(1),
            next: 0,
            clients: BTreeMap::new(),
        }
    }

    /// Gives a place to a client from `address`. If all are taken, another client is ended
    /// for it. Ending the client means `abort`.
    pub(super) fn enter(&mut self, address: IpAddr, abort: AbortHandle) -> u64 {
        if self.clients.len() >= self.most {
            self.end_one(|_| true);
        }
        let id = self.next;
        self.next += 1;
        self.clients.insert(
            id,
            Client {
                network: network(address),
                stage: Stage::Asking,
                abort,
            },
        );
        id
    }

    /// Notes how far a client has got. If too many clients are in the middle of their
    /// answers, one of those that were there before is ended.
    pub(super) fn reach(&mut self, id: u64, stage: Stage) {
        if stage == Stage::Answering && self.answering() >= self.most_answers {
            self.end_one(|client| client.stage == Stage::Answering);
        }
        if let Some(client) = self.clients.get_mut(&id) {
            client.stage = stage;
        }
    }

    /// Frees the place of a client that is no longer served.
    pub(super) fn leave(&mut self, id: u64) {
        self.clients.remove(&id);
    }

    fn answering(&self) -> usize {
        let answering = |client: &&Client| client.stage == Stage::Answering;
        self.clients.values().filter(answering).count()
    }

    /// Ends one of the clients that `may_go`, if there are any.
    fn end_one(&mut self, may_go: impl Fn(&Client) -> bool) {
        let candidates = || self.clients.values().filter(|client| may_go(client));
        let Some(stage) = candidates().map(|client| client.stage).min() else {
            return;
        };
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for client in candidates().filter(|client| client.stage == stage) {
            *held.entry(client.network).or_default() += 1;
        }
        let most = held.values().copied().max();
        let oldest = self.clients.iter().find(|(_, client)| {
            may_go(client) && client.stage == stage && held.get(&client.network).copied() == most
        });
        if let Some(id) = oldest.map(|(id, _)| *id)
            && let Some(client) = self.clients.remove(&id)
        {
            client.abort.abort();
        }
    }
}

/// The network that counts as one client's: an IPv4 address, or the /64 of an IPv6 address,
/// which one host has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        places: Places,
        handles: Vec<AbortHandle>,
    }

    impl World {
        fn new(most: usize, most_answers: usize) -> Self {
            World {
                places: Places::new(most, most_answers),
                handles: Vec::new(),
            }
        }

        fn enter(&mut self, address: &str) -> u64 {
            let (handle, _) = AbortHandle::new_pair();
            self.handles.push(handle.clone());
            self.places.enter(address.parse().unwrap(), handle)
        }

        /// The clients that were ended, by their order of arrival.
        fn ended(&self) -> Vec<usize> {
            let handles = self.handles.iter().enumerate();
            handles
                .filter(|(_, handle)| handle.is_aborted())
                .map(|(n, _)| n)
                .collect()
        }
    }

    #[test]
    fn the_busiest_address_gives_up_its_oldest_place() {
        let mut world = World::new(4, 4);
        world.enter("192.0.2.1");
        for _ in 0..3 {
            world.enter("2001:db8::1");
        }
        assert!(world.ended().is_empty());
        world.enter("2001:db8::2");
        assert_eq!(world.ended(), [1], "one /64 is one client");
        world.enter("192.0.2.9");
        assert_eq!(world.ended(), [1, 2]);
    }

    #[test]
    fn whoever_has_its_answer_goes_before_whoever_asks_and_that_before_the_answered() {
        let mut world = World::new(3, 3);
        let answering = world.enter("192.0.2.1");
        let _asking = world.enter("192.0.2.1");
        let answered = world.enter("192.0.2.2");
        world.places.reach(answering, Stage::Answering);
        world.places.reach(answered, Stage::Answered);
        world.enter("192.0.2.3");
        assert_eq!(world.ended(), [2]);
        world.enter("192.0.2.3");
        assert_eq!(world.ended(), [1, 2]);
    }

    #[test]
    fn answers_that_nobody_reads_have_places_of_their_own() {
        let mut world = World::new(10, 2);
        let clients: Vec<u64> = (0..4).map(|_| world.enter("192.0.2.1")).collect();
        for id in &clients[..2] {
            world.places.reach(*id, Stage::Answering);
        }
        assert!(world.ended().is_empty());
        world.places.reach(clients[2], Stage::Answering);
        assert_eq!(world.ended(), [0]);
        world.places.leave(clients[1]);
        world.places.reach(clients[3], Stage::Answering);
        assert_eq!(world.ended(), [0]);
        // What has been ended has nothing to report any more.
        world.places.reach(clients[0], Stage::Answered);
        assert_eq!(world.places.clients.len(), 2);
    }
}

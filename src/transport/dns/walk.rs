//! Which names an address leads to, and when to stop following them. No I/O:
//! the resolver asks [`Walk::next_questions`], looks them up, and reports each
//! answer to [`Walk::answer`].

use std::collections::HashSet;

use libp2p::Multiaddr;

use super::address::Named;
use super::{Error, MAX_ADDRESSES, MAX_DEPTH, MAX_LOOKUPS};

/// The names that one address leads to, and the addresses found so far.
///
/// Names are followed breadth first, so that what the owner of a name published directly
/// comes before what others published under names that it refers to.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The name that was asked for, for errors.
    name: String,
    /// Addresses to resolve in the round after this one.
    next: Vec<Named>,
    /// Addresses without names.
    found: Vec<Multiaddr>,
    /// Everything found so far, so that nothing is followed twice and loops end.
    seen: HashSet<Multiaddr>,
    depth: usize,
    lookups: usize,
    /// The first failure, which is returned when nothing was found.
    failure: Option<Error>,
    /// Whether an answer contained only what was found before.
    came_back: bool,
}

impl Walk {
    /// Starts at `address`; `None` when it has no name.
    pub(crate) fn new(address: &Multiaddr) -> Option<Walk> {
        let first = Named::first(address)?;
        Some(Walk {
            name: first.name.clone(),
            next: vec![first],
            found: Vec::new(),
            seen: HashSet::from([address.clone()]),
            depth: 0,
            lookups: 0,
            failure: None,
            came_back: false,
        })
    }

    /// The names to look up now; empty at the end.
    pub(crate) fn next_questions(&mut self) -> Vec<Named> {
        let mut questions = std::mem::take(&mut self.next);
        if questions.is_empty() || self.found.len() >= MAX_ADDRESSES {
            return Vec::new();
        }
        if self.depth >= MAX_DEPTH {
            self.fail(Error::TooDeep {
                name: self.name.clone(),
                limit: MAX_DEPTH,
            });
            return Vec::new();
        }
        self.depth += 1;
        let left = MAX_LOOKUPS - self.lookups;
        if questions.len() > left {
            self.fail(Error::TooMany {
                name: self.name.clone(),
                limit: MAX_LOOKUPS,
            });
            questions.truncate(left);
        }
        self.lookups += questions.len();
        questions
    }

    /// Takes what a name stands for.
    pub(crate) fn answer(&mut self, answer: Result<Vec<Multiaddr>, Error>) {
        let addresses = match answer {
            Ok(addresses) => addresses,
            Err(error) => return self.fail(error),
        };
        for address in addresses {
            if self.found.len() >= MAX_ADDRESSES {
                return;
            }
            if !self.seen.insert(address.clone()) {
                self.came_back = true;
                continue;
            }
            match Named::first(&address) {
                None => self.found.push(address),
                // One round never looks up more than this, so it need not be kept.
                Some(named) if self.next.len() <= MAX_LOOKUPS => self.next.push(named),
                Some(_) => {}
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// Ends the walk because its time is over.
    pub(crate) fn time_out(&mut self, waited: std::time::Duration) {
        self.fail(Error::Timeout {
            name: self.name.clone(),
            waited,
        });
    }

    /// What was found, or why nothing was.
    pub(crate) fn finish(self) -> Result<Vec<Multiaddr>, Error> {
        if !self.found.is_empty() {
            if let Some(failure) = self.failure {
                log::debug!(name = self.name, found = self.found.len(); "resolved in part: {failure}");
            }
            return Ok(self.found);
        }
        Err(match self.failure {
            Some(failure) => failure,
            None if self.came_back => Error::Loop { name: self.name },
            None => Error::NoRecords {
                name: self.name,
                record: "address",
                advice: "its owner must publish some",
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(s: &str) -> Multiaddr {
        s.parse().unwrap()
    }

    fn start() -> Walk {
        let mut walk = Walk::new(&addr("/dnsaddr/start.example")).unwrap();
        assert_eq!(walk.next_questions().len(), 1);
        walk
    }

    #[test]
    fn keeps_the_order_of_answers_and_drops_repeated_ones() {
        let mut walk = start();
        let a = addr("/ip4/192.0.2.1/tcp/1");
        let b = addr("/ip4/192.0.2.2/tcp/1");
        walk.answer(Ok(vec![b.clone(), a.clone(), b.clone()]));
        assert!(walk.next_questions().is_empty());
        assert_eq!(walk.finish().unwrap(), [b, a]);
    }

    #[test]
    fn a_loop_ends_and_is_named() {
        let mut walk = start();
        walk.answer(Ok(vec![addr("/dnsaddr/b.example")]));
        assert_eq!(walk.next_questions().len(), 1);
        walk.answer(Ok(vec![
            addr("/dnsaddr/start.example"),
            addr("/dnsaddr/b.example"),
        ]));
        assert!(walk.next_questions().is_empty());
        assert_eq!(
            walk.finish(),
            Err(Error::Loop {
                name: "start.example".into()
            })
        );
    }

    #[test]
    fn an_endless_chain_ends() {
        let mut walk = Walk::new(&addr("/dnsaddr/start.example")).unwrap();
        let mut rounds = 0;
        while !walk.next_questions().is_empty() {
            rounds += 1;
            walk.answer(Ok(vec![addr(&format!("/dnsaddr/n{rounds}.example"))]));
        }
        assert_eq!(rounds, MAX_DEPTH);
        assert!(matches!(
            walk.finish(),
            Err(Error::TooDeep {
                limit: MAX_DEPTH,
                ..
            })
        ));
    }

    #[test]
    fn a_tree_of_names_costs_no_more_than_the_bound() {
        let mut walk = Walk::new(&addr("/dnsaddr/start.example")).unwrap();
        let (mut lookups, mut fresh) = (0, 0);
        loop {
            let questions = walk.next_questions();
            if questions.is_empty() {
                break;
            }
            for _ in questions {
                lookups += 1;
                let names = (0..300).map(|_| {
                    fresh += 1;
                    addr(&format!("/dnsaddr/n{fresh}.example"))
                });
                walk.answer(Ok(names.collect()));
                assert!(walk.next.len() <= MAX_LOOKUPS + 1);
            }
        }
        assert_eq!(lookups, MAX_LOOKUPS);
        assert!(matches!(
            walk.finish(),
            Err(Error::TooMany {
                limit: MAX_LOOKUPS,
                ..
            })
        ));
    }

    #[test]
    fn addresses_are_bounded() {
        let mut walk = start();
        walk.answer(Ok((0..500)
            .map(|i| addr(&format!("/ip4/192.0.2.1/tcp/{i}")))
            .collect()));
        assert_eq!(walk.finish().unwrap().len(), MAX_ADDRESSES);
    }

    #[test]
    fn a_failure_beside_a_success_is_no_failure() {
        let mut walk = start();
        walk.answer(Ok(vec![
            addr("/dns4/gone.example/tcp/1"),
            addr("/ip4/192.0.2.1/tcp/1"),
        ]));
        assert_eq!(walk.next_questions().len(), 1);
        walk.answer(Err(Error::NotFound {
            name: "gone.example".into(),
        }));
        assert!(walk.next_questions().is_empty());
        assert_eq!(walk.finish().unwrap(), [addr("/ip4/192.0.2.1/tcp/1")]);
    }
}

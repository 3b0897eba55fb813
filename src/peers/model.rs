//! Compares the token bucket, reputations and bans with models that are too simple to be
//! wrong.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use libp2p::PeerId;
use proptest::prelude::*;

use super::bans::{BanList, Target};
use super::bucket::{Bucket, Budget};
use super::conduct::Conduct;
use super::reputation::{Action, BAN, BEST, DISCONNECT, HALF_LIFE, Reputation, Reputations, WORST};
use crate::system::moment::Moment;

proptest! {
    /// Checks the definition of a token bucket, which does not mention a level: a request
    /// passes if, over every stretch of time that ends with it, no more has passed than a
    /// burst and what that stretch fills in. Time is in nanoseconds and all numbers are
    /// whole, so that one unit too many or too few shows anywhere.
    #[test]
    fn a_bucket_passes_what_the_definition_allows(
        burst in 1u64..300,
        fill in 1u64..2000,
        asked in prop::collection::vec((0u64..50_000_000, 0u64..60), 1..120),
    ) {
        let budget = Budget { burst, fill };
        let start = Instant::now();
        let mut bucket = Bucket::full(budget, start);
        // When each request was made, and how much of it passed.
        let mut passed: Vec<(u64, u64)> = Vec::new();
        let mut nanos = 0;
        for (later, tokens) in asked {
            nanos += later;
            let allowed = (0..=passed.len()).all(|from| {
                let since = passed.get(from).map_or(nanos, |p| p.0);
                let so_far: u64 = passed[from..].iter().map(|p| p.1).sum();
                let most = burst * 1_000_000_000 + fill * (nanos - since);
                (so_far + tokens) * 1_000_000_000 <= most
            });
            let now = start + Duration::from_nanos(nanos);
            prop_assert_eq!(bucket.take(tokens, budget, now), allowed);
            passed.push((nanos, if allowed { tokens } else { 0 }));
        }
    }

    /// Checks that a debt is paid back exactly when the bucket said it would be.
    #[test]
    fn a_wait_is_exact(
        burst in 1u64..1000,
        fill in 1u64..5000,
        charges in prop::collection::vec((0u64..2_000_000_000, 0u64..400), 1..50),
    ) {
        let budget = Budget { burst, fill };
        let mut now = Instant::now();
        let mut bucket = Bucket::full(budget, now);
        for (later, tokens) in charges {
            now += Duration::from_nanos(later);
            if let Some(wait) = bucket.charge(tokens, budget, now) {
                prop_assert!(wait <= Duration::from_nanos((burst * 1_000_000_000).div_ceil(fill)));
                let (mut early, mut late) = (bucket, bucket);
                let before = now + wait - Duration::from_nanos(1);
                prop_assert!(early.charge(0, budget, before).is_some());
                prop_assert!(late.charge(0, budget, now + wait).is_none());
            }
        }
    }

    /// Compares the reputations of a few peers with the same rules in double precision,
    /// without bounds, batches or lazy updates.
    #[test]
    fn reputations_follow_the_rules(
        events in prop::collection::vec((0usize..4, 0..Conduct::ALL.len(), 0u64..3_000_000), 1..200),
    ) {
        let peers: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
        let mut real = Reputations::default();
        let mut model: HashMap<PeerId, (f64, Instant)> = HashMap::new();
        let mut now = Instant::now();
        for (who, what, later) in events {
            now += Duration::from_millis(later);
            let (peer, conduct) = (peers[who], Conduct::ALL[what]);
            let (score, at) = model.get(&peer).copied().unwrap_or((0.0, now));
            let age = now.duration_since(at).as_secs_f64() / HALF_LIFE.as_secs_f64();
            let before = score * 0.5f64.powf(age);
            let weight = f64::from(conduct.weight());
            let ceiling = f64::from(conduct.ceiling());
            let after = match weight {
                w if w < 0.0 => (before + w).max(f64::from(WORST)),
                _ if before < 0.0 || before > ceiling => before,
                w => before + w * (1.0 - before / ceiling),
            };
            model.insert(peer, (after, now));
            let (reputation, action) = real.apply(&peer, conduct, now, |_| false);
            let score = f64::from(reputation.score);
            prop_assert!((score - after).abs() < 0.01, "{score} and not {after}");
            prop_assert!((f64::from(WORST)..=f64::from(BEST)).contains(&score));
            let near = |bound: f32| (after - f64::from(bound)).abs() < 0.01;
            let expected = match after {
                _ if weight > 0.0 => Action::Note,
                a if a <= f64::from(BAN) => Action::Ban,
                a if a <= f64::from(DISCONNECT) => Action::Disconnect,
                _ => Action::Note,
            };
            prop_assert!(action == expected || near(BAN) || near(DISCONNECT));
            // Scores that are nearly zero are forgotten. Rounding must not decide which.
            let left = |(score, at): &(f64, Instant)| {
                let age = now.duration_since(*at).as_secs_f64() / HALF_LIFE.as_secs_f64();
                score.abs() * 0.5f64.powf(age)
            };
            if model.values().all(|entry| (left(entry) - 0.5).abs() > 0.01) {
                real.sweep(now);
                model.retain(|_, entry| left(entry) >= 0.5);
                prop_assert_eq!(real.len(), model.len());
            }
        }
    }

    /// Checks one event from any score, to the last digit: in the test above, scores stay
    /// where merits hardly count.
    #[test]
    fn an_event_moves_a_score_by_its_weight_and_the_room_that_is_left(
        score in -100f32..=100.0,
        what in 0..Conduct::ALL.len(),
    ) {
        let (peer, now) = (PeerId::random(), Instant::now());
        let conduct = Conduct::ALL[what];
        let mut real = Reputations::default();
        let saved = Reputation { score, strikes: 3.0 };
        real.restore(peer, saved, Duration::ZERO, now);
        let (reputation, action) = real.apply(&peer, conduct, now, |_| false);
        let (weight, ceiling) = (f64::from(conduct.weight()), f64::from(conduct.ceiling()));
        let before = f64::from(score);
        let after = if weight < 0.0 {
            (before + weight).max(-100.0)
        } else if (0.0..ceiling).contains(&before) {
            before + weight * (ceiling - before) / ceiling
        } else {
            before
        };
        prop_assert!((f64::from(reputation.score) - after).abs() < 1e-4, "{reputation:?}, not {after}");
        let expected = match reputation.score {
            _ if weight > 0.0 => Action::Note,
            s if s <= BAN => Action::Ban,
            s if s <= DISCONNECT => Action::Disconnect,
            _ => Action::Note,
        };
        prop_assert_eq!(action, expected);
    }

    /// Checks that an address is banned exactly when one of the ranges contains it.
    #[test]
    fn an_address_is_banned_when_a_range_holds_it(
        ranges in prop::collection::vec((any::<u32>(), 0u8..=32, any::<bool>()), 0..40),
        wide in prop::collection::vec((any::<u128>(), 0u8..=128), 0..20),
        asked in prop::collection::vec((any::<u32>(), any::<u128>(), 0usize..40), 1..40),
    ) {
        let now = Moment { mono: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let mut bans = BanList::default();
        let mut model: Vec<IpNet> = Vec::new();
        for (address, length, lifted) in &ranges {
            let net = IpNet::new(Ipv4Addr::from(*address).into(), *length).unwrap().trunc();
            bans.by_operator(Target::net(net), None, "", now).unwrap();
            model.retain(|other| *other != net);
            if *lifted {
                bans.lift(&Target::net(net), now.mono);
            } else {
                model.push(net);
            }
        }
        for (address, length) in &wide {
            let net = IpNet::new(Ipv6Addr::from(*address).into(), *length).unwrap().trunc();
            // A range that contains all IPv4-mapped addresses stays an IPv6 range.
            if let Target::Net(net @ IpNet::V6(_)) = Target::net(net) {
                bans.by_operator(Target::Net(net), None, "", now).unwrap();
                model.retain(|other| *other != net);
                model.push(net);
            }
        }
        for (v4, v6, near) in &asked {
            // Random addresses, and the first address of one of the ranges.
            let own = model.get(near % model.len().max(1)).map(IpNet::addr);
            let random = [IpAddr::from(v4.to_be_bytes()), IpAddr::from(v6.to_be_bytes())];
            for ip in random.into_iter().chain(own) {
                let ip = ip.to_canonical();
                let expected = model.iter().any(|net| net.contains(&ip));
                prop_assert_eq!(bans.ip(ip, now.mono).is_some(), expected, "{}", ip);
            }
        }
    }
}

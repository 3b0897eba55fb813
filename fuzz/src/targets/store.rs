//! Rows of the database, as a damaged disk or a later version leaves them.
//!
//! A row that cannot be read is left out. A row that can be read is complete, its times
//! can be used whatever they are, and what is made of it respects its limits: a score
//! stays in its range, and a replay window keeps what it has seen.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use p2p_node::peers::Conduct;
use p2p_node::peers::bans::BanList;
use p2p_node::peers::reputation::{BEST, Reputations, WORST};
use p2p_node::fuzzing::store;
use p2p_node::message::windows::{Mark, Windows};
use p2p_node::system::moment::Moment;

/// The length of a key, the key, and a row; each row is read as every kind.
pub fn rows(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else {
        return;
    };
    let (key, row) = rest.split_at(usize::from(*length).min(rest.len()));
    let moments = [
        UNIX_EPOCH,
        UNIX_EPOCH + Duration::from_millis(super::block::PUT),
        UNIX_EPOCH + Duration::from_secs(1 << 50),
    ];
    if let Some(peer) = store::peer(key, row) {
        assert_eq!(peer.peer.to_bytes(), key);
        assert!(peer.last_seen >= UNIX_EPOCH);
        for addr in &peer.addrs {
            let _ = addr.to_string();
        }
    }
    if let Some(root) = store::root(row) {
        let expired: Vec<bool> = moments.iter().map(|now| root.is_expired(*now)).collect();
        assert!(expired.is_sorted(), "what has expired stays so");
        let _ = root.put_at.duration_since(SystemTime::UNIX_EPOCH);
    }
    if let Some(said) = store::provenance(row) {
        let _ = (said.expires_at(), said.published_at(), said.publisher());
        for now in moments {
            if let Err(flaw) = said.check_time(now) {
                super::one_line(&flaw);
            }
        }
        if let Err(flaw) = said.verify(key) {
            super::one_line(&flaw);
        }
    }
}

/// Rows of what is known of peers, in the same form: bans, reputations and
/// replay windows.
pub fn trust(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else {
        return;
    };
    let (key, row) = rest.split_at(usize::from(*length).min(rest.len()));
    let wall = UNIX_EPOCH + Duration::from_millis(super::block::PUT);
    let now = Moment {
        mono: Instant::now(),
        wall,
    };
    if let Some(ban) = std::str::from_utf8(key)
        .ok()
        .and_then(|k| store::ban(k, row))
    {
        assert_eq!(ban.target.to_string().parse(), Ok(ban.target));
        let mut list = BanList::default();
        list.restore(ban, now);
        assert!(list.len() <= 1);
        for ahead in [0, 1, 3600, 1 << 40] {
            let ahead = Duration::from_secs(ahead);
            let later = Moment {
                mono: now.mono + ahead,
                wall: wall + ahead,
            };
            list.tend(later);
            for ban in list.list(later.mono) {
                assert!(!ban.reason.contains(char::is_control));
            }
        }
        // The clock is set back by years.
        list.tend(Moment {
            mono: now.mono + Duration::from_secs(1 << 40),
            wall: UNIX_EPOCH,
        });
    }
    if let Some(saved) = store::reputation(key, row) {
        let (peer, standing, at) = saved;
        let mut reputations = Reputations::default();
        let elapsed = wall.duration_since(at).unwrap_or_default();
        reputations.restore(peer, standing, elapsed, now.mono);
        for conduct in Conduct::ALL {
            let (standing, _) = reputations.apply(&peer, conduct, now.mono, |_| false);
            assert!((WORST..=BEST).contains(&standing.score), "{standing:?}");
            assert!(standing.strikes.is_finite() && standing.strikes >= 0.0);
        }
    }
    if let Some((window, written)) = store::window(key, row) {
        assert_eq!(store::window(key, &written), Some((window, written)));
        let mut windows = Windows::restore(vec![window, window]);
        assert_eq!(windows.len(), 1);
        for number in [window.highest, window.highest.wrapping_add(1), 0, u64::MAX] {
            let mark = Mark {
                id: window.id,
                number,
                at: window.last,
                lane: window.lane,
            };
            let would = windows.check(&mark.id, number);
            assert_eq!(windows.accept(mark), would);
            assert!(windows.accept(mark).is_err(), "{number} twice");
        }
        for row in windows.take_changes().rows {
            let again = Windows::restore(vec![row]);
            assert!(again.check(&row.id, row.highest).is_err());
        }
    }
}

/// A journal of accepted messages, as a crash leaves it.
pub fn journal(data: &[u8]) {
    let (found, marks) = store::journal(data);
    assert_eq!(found.marks as usize, marks.len());
    assert!(marks.len() <= data.len() / 40);
    let mut windows = Windows::default();
    for (mark, written) in &marks {
        // What is taken for a mark stands there as we would write it, but for
        // what later versions may put behind it.
        let said = &written[..29];
        assert!(data.windows(said.len()).any(|w| w == said));
        let _ = windows.accept(*mark);
        assert!(windows.check(&mark.id, mark.number).is_err());
    }
}

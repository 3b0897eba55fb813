use proptest::prelude::*;

use super::*;

fn id(n: u64) -> Id {
    let mut id = Id::default();
    id[..8].copy_from_slice(&n.to_be_bytes());
    id
}

fn mark(n: u64, number: u64, at: u32, lane: u8) -> Mark {
    Mark {
        id: id(n),
        number,
        at,
        lane,
    }
}

/// Every list holds what it says, in both directions, and every entry once.
fn check_lists(windows: &Windows) {
    let mut seen = 0;
    let mut of_lane = vec![0; LANES];
    let lists = (0..LANES)
        .map(|lane| (windows.lanes[lane], false, Some(lane)))
        .chain([(windows.established, true, None)]);
    for (list, established, lane) in lists {
        let (mut at, mut older, mut len) = (list.oldest, NONE, 0);
        while at != NONE {
            let entry = &windows.entries[at as usize];
            assert_eq!(windows.index[&entry.id], at);
            assert_eq!((entry.older, entry.established), (older, established));
            if let Some(lane) = lane {
                assert_eq!(usize::from(entry.lane), lane);
            } else {
                of_lane[usize::from(entry.lane)] += 1;
            }
            (older, at) = (at, entry.newer);
            len += 1;
        }
        assert_eq!((list.newest, list.len), (older, len));
        seen += len;
    }
    assert_eq!(seen, windows.len());
    assert_eq!(windows.index.len(), windows.len());
    assert_eq!(of_lane, windows.established_of_lane);
    assert!(windows.len() <= windows.max);
    assert!(windows.established() <= windows.max_established);
    assert!(
        of_lane
            .iter()
            .all(|n| *n <= windows.max_established_per_lane)
    );
}

#[test]
fn each_publisher_has_a_window_of_its_own() {
    let mut windows = Windows::default();
    windows.accept(mark(1, 5, 0, 0)).unwrap();
    assert_eq!(windows.check(&id(1), 5), Err(Refused::Replay));
    assert_eq!(windows.accept(mark(1, 5, 1, 0)), Err(Refused::Replay));
    windows.accept(mark(2, 5, 1, 0)).unwrap();
    windows.accept(mark(1, 4, 1, 0)).unwrap();
    assert_eq!(windows.len(), 2);
    check_lists(&windows);
}

#[test]
fn ids_differ_as_peer_ids_do() {
    let (one, other) = (PeerId::random(), PeerId::random());
    assert_eq!(id_of(&one), id_of(&one.clone()));
    assert_ne!(id_of(&one), id_of(&other));
}

/// Publisher 1 comes back after a while, so it is established.
fn with_an_established_publisher(max: usize) -> Windows {
    let mut windows = Windows::with_bound(max);
    windows.accept(mark(1, 100, 0, 7)).unwrap();
    assert_eq!(windows.established(), 0);
    windows.accept(mark(1, 101, ESTABLISHED_AFTER, 7)).unwrap();
    assert_eq!(windows.established(), 1);
    windows
}

#[test]
fn a_flood_of_made_up_publishers_does_not_push_out_an_established_one() {
    let mut windows = with_an_established_publisher(160);
    let mut number = 1000;
    // Through every lane, and for long.
    for at in 0..20 {
        for n in 0..5000_u64 {
            number += 1;
            let mark = mark(number, 1, ESTABLISHED_AFTER + at, n as u8);
            windows.accept(mark).unwrap();
        }
        check_lists(&windows);
    }
    assert_eq!(windows.len(), 160);
    for replay in [100, 101] {
        let refused = windows.accept(mark(1, replay, 2 * ESTABLISHED_AFTER, 3));
        assert_eq!(refused, Err(Refused::Replay));
    }
}

#[test]
fn ids_that_come_back_cannot_push_out_who_was_established_before() {
    let mut windows = with_an_established_publisher(160);
    // Three times as many as there is room for, each coming back through a lane of its own.
    for at in [
        ESTABLISHED_AFTER,
        3 * ESTABLISHED_AFTER,
        9 * ESTABLISHED_AFTER,
    ] {
        for n in 0..240_u64 {
            let _ = windows.accept(mark(1000 + n, u64::from(at), at, n as u8));
            let _ = windows.accept(mark(
                1000 + n,
                u64::from(at) + 1,
                at + ESTABLISHED_AFTER,
                n as u8,
            ));
        }
        check_lists(&windows);
    }
    assert_eq!(windows.established(), windows.max_established);
    let replay = windows.accept(mark(1, 101, 20 * ESTABLISHED_AFTER, 7));
    assert_eq!(replay, Err(Refused::Replay));
}

#[test]
fn one_lane_gets_a_share_of_the_established_places() {
    let mut windows = Windows::with_bound(160);
    for n in 0..100 {
        windows.accept(mark(n, 1, 0, 9)).unwrap();
        windows.accept(mark(n, 2, ESTABLISHED_AFTER, 9)).unwrap();
    }
    assert_eq!(windows.established(), 10);
    check_lists(&windows);
}

#[test]
fn a_silent_established_publisher_gives_its_place_to_a_lively_one() {
    let mut windows = Windows::with_bound(32);
    for n in 0..16 {
        windows.accept(mark(n, 1, 0, n as u8)).unwrap();
        windows
            .accept(mark(n, 2, ESTABLISHED_AFTER, n as u8))
            .unwrap();
    }
    assert_eq!(windows.established(), 16);
    let later = SILENT_AFTER;
    windows
        .accept(mark(99, 1, later - ESTABLISHED_AFTER, 99))
        .unwrap();
    windows.accept(mark(99, 2, later, 99)).unwrap();
    assert!(!windows.entries[windows.index[&id(99)] as usize].established);
    windows
        .accept(mark(99, 3, later + ESTABLISHED_AFTER, 99))
        .unwrap();
    assert!(windows.entries[windows.index[&id(99)] as usize].established);
    assert!(!windows.entries[windows.index[&id(0)] as usize].established);
    assert_eq!(windows.established(), 16);
    // It is still known, as the first to go of its lane.
    assert_eq!(windows.check(&id(0), 1), Err(Refused::Replay));
    check_lists(&windows);
}

#[test]
fn a_flood_through_one_lane_pushes_out_its_own_and_no_newcomer_of_another() {
    let mut windows = Windows::with_bound(160);
    for n in 0..20 {
        windows.accept(mark(n, 9, 0, n as u8)).unwrap();
    }
    for n in 0..10_000 {
        windows.accept(mark(1000 + n, 1, 1, 200)).unwrap();
    }
    for n in 0..20 {
        assert_eq!(windows.check(&id(n), 9), Err(Refused::Replay), "{n}");
    }
    assert_eq!(windows.len(), 160);
    check_lists(&windows);
}

#[test]
fn within_a_lane_the_least_recent_goes_first() {
    let mut windows = Windows::with_bound(16);
    for n in 0..16 {
        windows.accept(mark(n, 1, 0, 0)).unwrap();
    }
    windows.accept(mark(0, 2, 1, 0)).unwrap();
    windows.accept(mark(100, 1, 2, 0)).unwrap();
    assert_eq!(windows.check(&id(0), 1), Err(Refused::Replay));
    assert_eq!(windows.check(&id(1), 1), Ok(()));
}

#[test]
fn the_memory_of_a_full_set_is_what_the_documentation_says() {
    let mut windows = Windows::default();
    for n in 0..2 * MAX_PUBLISHERS as u64 {
        windows.accept(mark(n, 1, 0, n as u8)).unwrap();
    }
    assert_eq!(windows.len(), MAX_PUBLISHERS);
    let slot = size_of::<(Id, u32)>() + 1;
    let bytes = windows.entries.capacity() * size_of::<Entry>()
        + (windows.index.capacity() * 8).div_ceil(7) * slot;
    assert!(bytes <= MAX_PUBLISHERS * BYTES_PER_PUBLISHER, "{bytes}");
    assert!(bytes < 2 << 20, "{bytes}");
}

#[test]
fn changes_are_what_differs_from_the_stored_rows() {
    let mut windows = Windows::with_bound(16);
    assert_eq!(windows.take_changes(), Changes::default());
    for n in 0..16 {
        windows.accept(mark(n, 1, 0, 0)).unwrap();
    }
    assert_eq!(windows.take_changes().rows.len(), 16);
    assert_eq!(windows.take_changes(), Changes::default());
    windows.accept(mark(20, 7, 3, 1)).unwrap();
    let changes = windows.take_changes();
    assert_eq!(changes.gone, [id(0)]);
    assert_eq!(
        changes.rows,
        [Row {
            id: id(20),
            highest: 7,
            seen: 1,
            first: 3,
            last: 3,
            lane: 1,
            established: false
        }]
    );
    windows.give_back(changes.clone());
    assert_eq!(windows.take_changes(), changes);
}

#[test]
fn a_restored_set_refuses_what_the_first_one_did() {
    let mut windows = with_an_established_publisher(MAX_PUBLISHERS);
    windows.accept(mark(2, 50, 5, 1)).unwrap();
    let rows = windows.take_changes().rows;
    // A row twice, as a damaged database might have it.
    let mut restored = Windows::restore([&rows[..], &rows[..1]].concat());
    check_lists(&restored);
    assert_eq!((restored.len(), restored.established()), (2, 1));
    assert_eq!(restored.take_changes(), Changes::default());
    for (n, number) in [(1, 100), (1, 101), (2, 50)] {
        let again = restored.accept(mark(n, number, 9, 0));
        assert_eq!(again, Err(Refused::Replay));
    }
    restored.accept(mark(2, 51, 9, 0)).unwrap();
}

#[test]
fn of_too_many_stored_rows_the_latest_are_kept() {
    let rows: Vec<Row> = (0..40)
        .map(|n| Row {
            id: id(n),
            highest: 1,
            seen: 1,
            first: 0,
            last: n as u32,
            lane: 0,
            established: true,
        })
        .collect();
    let mut windows = Windows::with_bound(32);
    windows.take_in(rows);
    check_lists(&windows);
    assert_eq!(windows.len(), 32);
    assert_eq!(windows.take_changes().gone.len(), 8);
    assert_eq!(windows.check(&id(39), 1), Err(Refused::Replay));
    assert_eq!(windows.check(&id(7), 1), Ok(()));
}

proptest! {
    /// While nobody is pushed out, the set does what a window for each
    /// publisher does; and whoever is pushed out, the lists stay whole.
    #[test]
    fn the_set_does_what_separate_windows_do(
        steps in prop::collection::vec((0..40_u64, 0..100_u64, 0..2000_u32, 0..3_u8), 0..400),
        bound in prop_oneof![Just(16_usize), Just(64)],
    ) {
        let mut windows = Windows::with_bound(bound);
        let mut model: HashMap<u64, Window> = HashMap::new();
        let mut time = 0;
        for (n, number, pause, lane) in steps {
            time += pause;
            let known = windows.index.contains_key(&id(n));
            let result = windows.accept(mark(n, number, time, lane));
            let one = model.entry(n).or_default();
            if !known {
                // Pushed out before, or new.
                *one = Window::default();
            }
            prop_assert_eq!(result, one.accept(number));
            check_lists(&windows);
            if bound == 64 {
                prop_assert_eq!(windows.len(), model.len());
            }
        }
    }
}

//! The replay window of one publisher: which of its numbers were seen.
//!
//! Accepting only ever higher numbers would drop honest messages that overtook one
//! another on their way through the mesh. So the 64 numbers up to the highest
//! one are remembered one by one, as a bitmap (as RFC 4303, section 3.4.3, does
//! for IPsec). Older ones are refused, since it is no longer known whether they were
//! seen.

/// Numbers that are remembered one by one.
pub const WIDTH: u32 = u64::BITS;

/// Why a number is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was seen.
    Replay,
    /// It is below the window, where nothing is remembered.
    TooOld {
        /// The lowest number in the window.
        oldest: u64,
    },
}

/// See the module's documentation. 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    highest: u64,
    /// Bit `n` says that `highest - n` was seen. All zero: nothing was yet.
    seen: u64,
}

impl Window {
    /// The window that [`Self::highest`] and [`Self::seen`] described. Any two
    /// numbers make a valid one.
    pub fn from_parts(highest: u64, seen: u64) -> Self {
        // The highest number was seen, or there is none.
        let seen = if seen == 0 { 0 } else { seen | 1 };
        Window { highest, seen }
    }

    /// The highest number seen; 0 before the first.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// The bitmap: bit `n` for `highest - n`.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether `number` would be accepted.
    ///
    /// # Errors
    /// Why it would not.
    pub fn check(&self, number: u64) -> Result<(), Refused> {
        // Subtractions only, of the lower from the higher: a publisher that
        // jumps to u64::MAX overflows nothing, and can publish nothing after that.
        if self.seen == 0 || number > self.highest {
            return Ok(());
        }
        let behind = self.highest - number;
        if behind >= u64::from(WIDTH) {
            return Err(Refused::TooOld {
                oldest: self.highest - u64::from(WIDTH - 1),
            });
        }
        if self.seen >> behind & 1 == 1 {
            return Err(Refused::Replay);
        }
        Ok(())
    }

    /// Marks `number` as seen.
    ///
    /// # Errors
    /// As [`Self::check`]; the window is then as it was.
    pub fn accept(&mut self, number: u64) -> Result<(), Refused> {
        self.check(number)?;
        if self.seen == 0 {
            (self.highest, self.seen) = (number, 1);
        } else if number > self.highest {
            let ahead = number - self.highest;
            let kept = u32::try_from(ahead)
                .ok()
                .and_then(|ahead| self.seen.checked_shl(ahead))
                .unwrap_or(0);
            (self.highest, self.seen) = (number, kept | 1);
        } else {
            self.seen |= 1 << (self.highest - number);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn late_numbers_pass_once() {
        let mut window = Window::default();
        for number in [100, 98, 99, 101, 38] {
            assert_eq!(window.accept(number), Ok(()), "{number}");
            assert_eq!(window.accept(number), Err(Refused::Replay), "{number}");
        }
        assert_eq!(window.accept(37), Err(Refused::TooOld { oldest: 38 }));
    }

    #[test]
    fn both_ends_of_the_numbers_work() {
        let mut window = Window::default();
        assert_eq!(window.accept(0), Ok(()));
        assert_eq!(window.accept(0), Err(Refused::Replay));
        assert_eq!(window.accept(63), Ok(()));
        assert_eq!(window.accept(0), Err(Refused::Replay));
        assert_eq!(window.accept(u64::MAX), Ok(()));
        assert_eq!(window.accept(u64::MAX), Err(Refused::Replay));
        assert_eq!(window.accept(u64::MAX - 63), Ok(()));
        assert_eq!(
            window.accept(64),
            Err(Refused::TooOld {
                oldest: u64::MAX - 63
            })
        );
    }

    #[test]
    fn jumps_around_the_width_of_the_bitmap() {
        for ahead in [1, 2, 62, 63, 64, 65, 127, 128, 1 << 31, 1 << 32, 1 << 40] {
            let mut window = Window::default();
            window.accept(1000).unwrap();
            window.accept(1000 + ahead).unwrap();
            let again = window.accept(1000).unwrap_err();
            assert_eq!(again == Refused::Replay, ahead < 64, "{ahead}");
            assert_eq!(window.accept(1000 + ahead - 1).is_ok(), ahead != 1);
        }
    }

    #[test]
    fn parts_of_a_damaged_row_make_a_valid_window() {
        let mut window = Window::from_parts(5, 0b10);
        assert_eq!(window.accept(5), Err(Refused::Replay));
        assert_eq!(window.accept(4), Err(Refused::Replay));
        assert_eq!(window.accept(3), Ok(()));
        assert_eq!(Window::from_parts(9, 0).accept(1), Ok(()));
    }

    /// All that was ever accepted, and the highest of it.
    #[derive(Default)]
    struct Model {
        seen: HashSet<u64>,
        highest: u64,
    }

    impl Model {
        fn accept(&mut self, number: u64) -> Result<(), Refused> {
            let below = self.highest.saturating_sub(63);
            if !self.seen.is_empty() && number < below {
                return Err(Refused::TooOld { oldest: below });
            }
            if !self.seen.insert(number) {
                return Err(Refused::Replay);
            }
            self.highest = self.highest.max(number);
            Ok(())
        }
    }

    /// Numbers close together, so that they meet, with jumps in between and
    /// both ends of the range.
    fn numbers() -> impl Strategy<Value = Vec<u64>> {
        let near = prop_oneof![Just(0), Just(1 << 20), Just(1 << 50), Just(u64::MAX - 200)];
        let number = prop_oneof![
            9 => (near, 0..200_u64).prop_map(|(base, add): (u64, u64)| base + add),
            1 => any::<u64>(),
            1 => Just(u64::MAX),
        ];
        // Mostly upwards, as publishers count, or the first high number ends it.
        prop::collection::vec(number, 0..300).prop_map(|mut numbers| {
            for chunk in numbers.chunks_mut(100) {
                chunk.sort_unstable_by_key(|n| n >> 7);
            }
            numbers
        })
    }

    proptest! {
        #[test]
        fn a_window_does_what_a_set_of_all_numbers_does(numbers in numbers()) {
            let (mut window, mut model) = (Window::default(), Model::default());
            for number in numbers {
                prop_assert_eq!(window.check(number), window.clone().accept(number));
                prop_assert_eq!(window.accept(number), model.accept(number));
                let copy = Window::from_parts(window.highest(), window.seen());
                prop_assert_eq!(copy, window);
            }
        }
    }
}

//! Chance that can be had again: the same seed, the same choices.

/// SplitMix64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = count.div_ceil(8);
        let mut bytes: Vec<u8> = (0..words).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(count);
        bytes
    }

    /// One of them.
    pub(crate) fn one(&mut self, of: &[usize]) -> usize {
        of[self.below(of.len())]
    }

    /// Two different ones.
    pub(crate) fn two(&mut self, of: &[usize]) -> (usize, usize) {
        let first = self.below(of.len());
        let second = (first + 1 + self.below(of.len() - 1)) % of.len();
        (of[first], of[second])
    }

    /// Some of them, each at most once, in any order.
    pub(crate) fn some(&mut self, count: usize, of: &[usize]) -> Vec<usize> {
        let mut all = of.to_vec();
        let count = count.min(all.len());
        for n in 0..count {
            let other = n + self.below(all.len() - n);
            all.swap(n, other);
        }
        all.truncate(count);
        all
    }
}

//! Bytes that do not compress, and files of them.

use std::path::Path;
use std::process::Command;

/// The same for the same `seed` (xorshift64*).
fn words_of_noise(seed: u64) -> impl Iterator<Item = [u8; 8]> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    })
}

/// `len` bytes that do not compress and are the same for the same `seed`.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    words_of_noise(seed).flatten().take(len).collect()
}

/// Writes a file of `len` bytes that does not compress and is the same for the
/// same `seed`.
pub(crate) fn write_noise(path: &Path, len: u64, seed: u64) {
    use std::io::Write;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut left = len;
    for word in words_of_noise(seed) {
        let take = usize::try_from(left.min(8)).unwrap();
        if take == 0 {
            break;
        }
        file.write_all(&word[..take]).unwrap();
        left -= take as u64;
    }
    file.flush().unwrap();
}

/// Whether two files hold the same bytes.
pub(crate) fn same_bytes(a: &Path, b: &Path) -> bool {
    Command::new("cmp")
        .arg("-s")
        .arg(a)
        .arg(b)
        .status()
        .unwrap()
        .success()
}

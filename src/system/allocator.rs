//! How the C library's allocator gives memory back.

/// Blocks of at least this many bytes come from the kernel and go back to it at
/// once. Content moves in blocks of 1 MiB; everything that is allocated often is
/// far smaller, or borrowed from a pool.
#[cfg(target_env = "gnu")]
const APART: nix::libc::c_int = 256 << 10;

/// Keeps large blocks out of the heap's arenas for the life of the process.
///
/// glibc does so at first, but moves its threshold up to the size of the first
/// large block that is freed (at most 32 MiB). From then on blocks of content
/// lie between small things in the arenas, which shrink only at their end: a
/// node that once served hundreds of slow readers kept ten times the memory that
/// it used, for ever (727 MiB in place of 73). Naming the threshold also pins it.
///
/// The price is a page fault for each 4 KiB of such a block. 512 MiB put on one
/// node and fetched by another, four rounds of each in turn, by the ticks of the
/// CPU: 1.5 s in place of 1.1 s for the one that has it, 1.7 s in place of 1.9 s
/// for the one that fetches; no slower by the clock.
pub fn keep_large_blocks_apart() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "the C library offers it in no other way")]
    // SAFETY: the call takes two numbers and no pointer, and glibc takes its own
    // lock while it changes the parameter.
    unsafe {
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, APART);
    }
}

/// Gives the kernel what the heap does not use, where it lies between things that
/// are in use too. Takes about a millisecond for each 100 MiB and holds the lock
/// of one arena at a time, so it is for a thread that nobody waits for.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "the C library offers it in no other way")]
    // SAFETY: the call takes a number and no pointer, and glibc takes its own
    // locks; no memory that is in use moves or changes.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use crate::system::memory::resident;

    /// In a process of its own: what other tests allocate beside it would be
    /// measured too.
    #[test]
    fn what_lies_between_things_in_use_goes_back_to_the_kernel() {
        let this = std::env::current_exe().unwrap();
        let name = "system::allocator::tests::child";
        let status = std::process::Command::new(this)
            .args(["--exact", name, "--ignored", "--test-threads=1"])
            .status()
            .unwrap();
        assert!(status.success());
    }

    #[test]
    #[ignore = "run in a process of its own by the test above"]
    fn child() {
        super::keep_large_blocks_apart();
        let before = resident().unwrap();
        // 128 MiB in small pieces, of which one in a hundred stays.
        let mut pieces: Vec<Option<Box<[u8]>>> = (0..32_768)
            .map(|n| Some(vec![n as u8; 4096].into_boxed_slice()))
            .collect();
        let full = resident().unwrap();
        assert!(full > before + (96 << 20), "{before} then {full}");
        for (n, piece) in pieces.iter_mut().enumerate() {
            if n % 100 != 0 {
                *piece = None;
            }
        }
        super::give_back();
        let after = resident().unwrap();
        assert!(
            after < before + (24 << 20),
            "{before}, {full}, then {after}"
        );
        assert_eq!(pieces.iter().flatten().count(), 328);
    }
}

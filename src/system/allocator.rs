//! How the C library's allocator gives memory back.

/// The size in bytes from which on blocks come directly from the kernel and go back to it
/// at once. Content moves in blocks of 1 MiB. Everything that is allocated often is far
/// smaller, or borrowed from a pool.
#[cfg(target_env = "gnu")]
const APART: nix::libc::c_int = 256 << 10;

/// Keeps large blocks out of the heap's arenas for the life of the process.
///
/// glibc does so at first, but it raises its threshold to the size of the first large
/// block that is freed (at most 32 MiB). From then on, blocks of content lie between
/// small objects in the arenas, which shrink only at their end. A node that had once
/// served hundreds of slow readers kept ten times the memory that it used, for ever (727
/// MiB instead of 73). When the threshold is set explicitly, glibc does not change it any
/// more.
///
/// The price is a page fault for each 4 KiB of such a block. This was measured with 512
/// MiB that were put on one node and fetched by another, in four rounds of each variant
/// by turns. In CPU time, it took 1.5 s instead of 1.1 s on the node that has the
/// content, and 1.7 s instead of 1.9 s on the node that fetches it. The elapsed time was
/// no longer.
pub fn keep_large_blocks_apart() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "the C library offers it in no other way")]
    // SAFETY: the call takes two numbers and no pointer, and glibc takes its own lock
    // while it changes the parameter.
    unsafe {
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, APART);
    }
}

/// Gives memory that the heap does not use back to the kernel, including memory between
/// objects that are in use. This takes about a millisecond for each 100 MiB and holds the
/// lock of one arena at a time, so it is for a thread that nobody waits for.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "the C library offers it in no other way")]
    // SAFETY: the call takes a number and no pointer, and glibc takes its own locks. No
    // memory that is in use moves or changes.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use crate::system::memory::resident;

    /// Runs in a process of its own, since otherwise the allocations of other tests would
    /// be measured too.
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

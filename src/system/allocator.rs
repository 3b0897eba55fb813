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

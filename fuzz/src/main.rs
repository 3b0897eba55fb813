//! All fuzz targets in one program, so that it is linked once. `FUZZ_TARGET`
//! names the one to run; the rest of the command line is libFuzzer's. Use `./run`.
#![no_main]

mod memory;
mod seeds;
mod stream;
mod targets;
mod wire;

use std::path::Path;
use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(
    init: {
        let _ = TARGET.set(choose());
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            memory::check(target.memory, || (target.run)(data));
        }
    }
);

/// What the environment asks for. Answers questions of `./run` and leaves.
fn choose() -> &'static Target {
    if let Ok(folder) = std::env::var("FUZZ_SEEDS") {
        let written = seeds::write(Path::new(&folder));
        if let Err(error) = &written {
            eprintln!("cannot write the seeds to {folder}: {error}");
        }
        exit(i32::from(written.is_err()));
    }
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    TARGETS
        .iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| {
            for target in TARGETS {
                println!("{}", target.name);
            }
            exit(if name.is_empty() { 0 } else { 2 })
        })
}

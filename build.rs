//! Compiles every file under `proto/` into Rust, with protox instead of protoc
//! so that a newcomer needs no tool beside the Rust toolchain.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut files = Vec::<PathBuf>::new();
    for entry in std::fs::read_dir("proto")? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    files.sort();
    let descriptors = protox::compile(&files, ["proto"])?;
    prost_build::Config::new()
        // `Bytes` fields share the buffer that a frame was read into: a block of
        // a megabyte is not copied to be looked at.
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}

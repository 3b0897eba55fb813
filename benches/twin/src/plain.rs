//! A plain TCP copy with the same buffers: the ceiling of this machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use super::Result;
use super::work::{BUFFER, print_transfer, usage};

pub fn listen() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(move || -> std::io::Result<()> {
        let (mut socket, _) = listener.accept()?;
        let mut buffer = vec![0; BUFFER];
        let mut header = [0; 8];
        socket.read_exact(&mut header)?;
        let mut left = u64::from_be_bytes(header);
        while left > 0 {
            match socket.read(&mut buffer)? {
                0 => break,
                n => left -= n as u64,
            }
        }
        socket.write_all(&left.to_be_bytes())
    });
    for _ in std::io::stdin().lines() {
        println!("{}", usage());
    }
    Ok(())
}

pub fn dial(address: &str, bytes: u64) -> Result<()> {
    let mut socket = TcpStream::connect(address)?;
    let buffer = vec![7; BUFFER];
    let start = Instant::now();
    socket.write_all(&bytes.to_be_bytes())?;
    let mut left = bytes;
    while left > 0 {
        let n = left.min(BUFFER as u64);
        socket.write_all(&buffer[..n as usize])?;
        left -= n;
    }
    let mut answer = [0; 8];
    socket.read_exact(&mut answer)?;
    print_transfer(bytes, start.elapsed());
    Ok(())
}

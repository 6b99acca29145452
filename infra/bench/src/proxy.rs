//! A network between a function and Postgres: every byte arrives later by a fixed time, each way.

use crate::process::claim;
use anyhow::Result;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Forwards to `target` on this machine; returns the port to connect to.
pub fn start(target: u16, delay: Duration) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        let _ = claim(None);
        for client in listener.incoming().flatten() {
            // A connection that can't be made is closed, as a network would.
            let _ = join(client, target, delay);
        }
    });
    Ok(port)
}

fn join(client: TcpStream, target: u16, delay: Duration) -> Result<()> {
    let server = TcpStream::connect(("127.0.0.1", target))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    forward(client.try_clone()?, server.try_clone()?, delay);
    forward(server, client, delay);
    Ok(())
}

fn forward(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(count) = from.read(&mut chunk)
            && count > 0
            && sender
                .send((Instant::now() + delay, chunk[..count].to_vec()))
                .is_ok()
        {}
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

//! HTTP/1.1 on this machine, by hand: a client that costs little beside what it measures, and a
//! server that answers at once.

use crate::process::claim;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// A request or an answer as it came.
pub struct Message {
    /// The first line and the headers.
    pub head: String,
    pub body: Vec<u8>,
}

impl Message {
    pub fn status(&self) -> u16 {
        self.head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A connection that stays open.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    chunk: Box<[u8]>,
}

impl Connection {
    pub fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            chunk: vec![0; 64 * 1024].into_boxed_slice(),
        })
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, request: &[u8]) -> Result<Message> {
        self.stream.write_all(request)?;
        self.receive()?.context("the connection was closed")
    }

    /// The next message; `None` when the peer is done.
    fn receive(&mut self) -> Result<Option<Message>> {
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read()? {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
        let mut message = Message {
            head,
            body: Vec::new(),
        };
        let length: usize = message.header("content-length").map_or(Ok(0), str::parse)?;
        while self.buffer.len() < head_end + length {
            if !self.read()? {
                bail!("the connection was closed in a body");
            }
        }
        message.body = self.buffer[head_end..head_end + length].to_vec();
        self.buffer.drain(..head_end + length);
        Ok(Some(message))
    }

    fn read(&mut self) -> Result<bool> {
        let count = self.stream.read(&mut self.chunk)?;
        self.buffer.extend_from_slice(&self.chunk[..count]);
        Ok(count > 0)
    }
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Answers every request with what `answer` gives, from a thread a connection; `None` leaves the
/// asker waiting.
pub fn serve(answer: impl Fn(Message) -> Option<(u16, String)> + Send + Clone + 'static) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        let _ = claim(None);
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || answer_all(stream, answer));
        }
    });
    Ok(port)
}

fn answer_all(stream: TcpStream, answer: impl Fn(Message) -> Option<(u16, String)>) -> Result<()> {
    let mut connection = Connection::over(stream)?;
    while let Some(request) = connection.receive()? {
        let Some((status, body)) = answer(request) else {
            continue;
        };
        let head = format!(
            "HTTP/1.1 {status} OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection
            .stream
            .write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
    }
    Ok(())
}

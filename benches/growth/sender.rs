//! Sends prepared requests over connections that stay open, with as little work as possible: it shares
//! the machine with the service.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::signer::{Signer, TOPIC, s3_records};

/// The messages of a run.
pub const MESSAGES: usize = 20_000;

/// Requests as they go over the wire.
pub type Requests = Arc<Vec<Vec<u8>>>;

/// Signs so many messages of one change each, all of different objects.
pub fn signed(signer: &Signer, messages: usize) -> Requests {
    let request = |at| {
        let key = format!("pages/2026/11/page-{at}.html");
        let text = s3_records("site", &[("ObjectCreated:Put", &key)]);
        as_sns_posts(&signer.notification(&text).body())
    };
    Arc::new((0..messages).map(request).collect())
}

/// Signs messages of 200 changes each, of different objects.
pub fn crowded(signer: &Signer, bucket: &str, changes: usize) -> Requests {
    let all: Vec<_> = (0..changes)
        .map(|at| format!("dir-{}/{at}", at % 50))
        .collect();
    let request = |keys: &[String]| {
        let records = keys.iter().map(|key| ("ObjectCreated:Put", key.as_str()));
        let text = s3_records(bucket, &records.collect::<Vec<_>>());
        as_sns_posts(&signer.notification(&text).body())
    };
    Arc::new(all.chunks(200).map(request).collect())
}

/// The headers are those of SNS.
fn as_sns_posts(body: &str) -> Vec<u8> {
    let head = format!(
        "POST /sns HTTP/1.1\r\n\
         x-amz-sns-message-type: Notification\r\n\
         x-amz-sns-topic-arn: {TOPIC}\r\n\
         Content-Length: {}\r\n\
         Content-Type: text/plain; charset=UTF-8\r\n\
         Host: purge.example.com\r\n\
         Connection: Keep-Alive\r\n\
         User-Agent: Amazon Simple Notification Service Agent\r\n\
         Accept-Encoding: gzip,deflate\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Sends all requests, one at a time on each connection, and insists on 200. Returns how long it took.
pub async fn send(url: &str, requests: &Requests, connections: usize) -> Duration {
    let address = url.strip_prefix("http://").unwrap();
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        streams.push(Connection::open(address).await);
    }
    let begin = Instant::now();
    let senders = streams.into_iter().enumerate().map(|(first, mut stream)| {
        let requests = Arc::clone(requests);
        tokio::spawn(async move {
            for request in requests.iter().skip(first).step_by(connections) {
                assert_eq!(stream.ask(request).await, 200);
            }
        })
    });
    for sender in join_all(senders.collect::<Vec<_>>()).await {
        sender.unwrap();
    }
    begin.elapsed()
}

/// A connection that is used again and again.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let read = Vec::with_capacity(4096);
        Self { stream, read }
    }

    /// The status of the response, which is read to its end.
    pub async fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).await.unwrap();
        self.read.clear();
        loop {
            let read = self.stream.read_buf(&mut self.read).await.unwrap();
            assert!(read > 0, "the service closed the connection");
            if let Some((status, length)) = head(&self.read)
                && self.read.len() >= length
            {
                return status;
            }
        }
    }
}

/// The status of a response, and how long all of it is.
fn head(read: &[u8]) -> Option<(u16, usize)> {
    let end = read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&read[..end]).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.parse::<usize>().unwrap())
    });
    Some((status, end + length.unwrap_or(0)))
}

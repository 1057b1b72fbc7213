//! Sends prepared requests over many keep-alive connections, and measures how long each answer takes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{messages::s3_message_text, support::signer::Signer};

/// Requests as they go over the wire.
pub type Requests = Arc<[Vec<u8>]>;

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each connection sends as soon as it has its last answer.
    Closed,
    /// So many a second, whether or not there are answers. Latencies count from when a request was due:
    /// waiting for a free connection is part of them.
    Open(u32),
}

/// What came of a number of requests.
pub struct Outcome {
    pub took: Duration,
    /// In microseconds.
    pub latencies: Histogram<u64>,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        f64::from(u32::try_from(self.latencies.len()).unwrap()) / self.took.as_secs_f64()
    }
}

/// The bytes of a request as SNS sends it.
pub fn request(body: &str) -> Vec<u8> {
    format!(
        "POST /sns HTTP/1.1\r\n\
         x-amz-sns-message-type: Notification\r\n\
         x-amz-sns-message-id: 165545c9-2a5c-472c-8df2-7ff2be2b3b1b\r\n\
         x-amz-sns-topic-arn: arn:aws:sns:us-east-1:123456789012:site-changes\r\n\
         x-amz-sns-subscription-arn: arn:aws:sns:us-east-1:123456789012:site-changes:\
         2bcfbf39-05c3-41de-beaa-fcfcc21c8f55\r\n\
         Content-Length: {}\r\n\
         Content-Type: text/plain; charset=UTF-8\r\n\
         Host: purgefront.example\r\n\
         Connection: Keep-Alive\r\n\
         User-Agent: Amazon Simple Notification Service Agent\r\n\
         Accept-Encoding: gzip,deflate\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Signs messages of one new object each.
pub fn uploads(signer: &Signer, count: usize) -> Requests {
    let upload = |at| {
        let key = format!("assets/2026/11/page-{at}.html");
        let message = signer.notification(&s3_message_text("site", &key));
        request(&message.with("Subject", "Amazon S3 Notification").body())
    };
    (0..count).map(upload).collect()
}

/// Sends all requests, and insists that each is answered with 200.
pub async fn send(
    address: SocketAddr,
    requests: Requests,
    connections: usize,
    pace: Pace,
) -> Outcome {
    let mut opened = Vec::new();
    for _ in 0..connections {
        opened.push(Connection::open(address).await);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let senders = opened.into_iter().map(|connection| {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        tokio::spawn(keep_sending(connection, requests, next, pace, begin))
    });
    let sent = join_all(senders).await;
    let took = begin.elapsed();
    let mut latencies = histogram();
    for one in sent {
        latencies.add(one.unwrap()).unwrap();
    }
    assert_eq!(latencies.len(), requests.len() as u64);
    Outcome { took, latencies }
}

async fn keep_sending(
    mut connection: Connection,
    requests: Requests,
    next: Arc<AtomicUsize>,
    pace: Pace,
    begin: Instant,
) -> Histogram<u64> {
    let mut latencies = histogram();
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(request) = requests.get(at) else {
            return latencies;
        };
        let since = match pace {
            Pace::Closed => Instant::now(),
            Pace::Open(rate) => {
                let due = begin + Duration::from_secs(1) * u32::try_from(at).unwrap() / rate;
                tokio::time::sleep_until(due.into()).await;
                due
            }
        };
        assert_eq!(connection.ask(request).await, 200);
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap();
        latencies.record(micros).unwrap();
    }
}

/// A connection that is used again and again.
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let answer = Vec::with_capacity(4096);
        Self { stream, answer }
    }

    /// Sends a request, and returns the status of the answer, which is read to its end.
    pub async fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).await.unwrap();
        self.answer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.answer).await.unwrap();
            assert!(read > 0, "the server closed the connection");
            if let Some((status, length)) = head(&self.answer)
                && self.answer.len() >= length
            {
                return status;
            }
        }
    }
}

/// The status of an answer, and how long all of it is.
fn head(answer: &[u8]) -> Option<(u16, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(answer).unwrap() else {
        return None;
    };
    let named = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("content-length");
    let length = response
        .headers
        .iter()
        .find(named)
        .map_or("0", |header| std::str::from_utf8(header.value).unwrap());
    let length: usize = length.parse().unwrap();
    Some((response.code.unwrap(), head + length))
}

/// Up to a minute, exact to three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).unwrap()
}

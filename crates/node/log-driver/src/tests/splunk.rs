//! `splunk` against an HTTP server.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Deserializer, Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::tls::Authority;
use super::{driver, noise, refusal, send_until_taken, stderr, stdout};
use crate::{Driver, SendError};

const TOKEN: &str = "hush-hush-token";

/// A collector that answers with the statuses it is given, and with 200 afterwards.
#[derive(Clone, Default)]
struct Collector {
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
    statuses: Arc<Mutex<VecDeque<u16>>>,
}

impl Collector {
    fn answering(statuses: &[u16]) -> Self {
        Self { statuses: Arc::new(Mutex::new(statuses.iter().copied().collect())), ..Self::default() }
    }

    fn listen(&self, listener: TcpListener, tls: Option<TlsAcceptor>) -> JoinHandle<()> {
        let collector = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                match &tls {
                    None => collector.serve(stream).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            collector.serve(stream).await;
                        }
                    }
                }
            }
        })
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let serve = service_fn(|request: Request<Incoming>| async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            self.requests.lock().unwrap().push(Request::from_parts(head, body));
            let status = self.statuses.lock().unwrap().pop_front().unwrap_or(200);
            let answer = Full::new(Bytes::from_static(b"{\"text\":\"why\",\"code\":4}\n"));
            Ok::<_, Infallible>(Response::builder().status(status).body(answer).unwrap())
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
    }

    fn take(&self) -> Vec<Request<Bytes>> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// The events of all requests.
    fn events(&self) -> Vec<Value> {
        let bodies: Vec<u8> = self.take().iter().flat_map(|request| request.body().to_vec()).collect();
        Deserializer::from_slice(&bodies).into_iter().collect::<Result<_, _>>().unwrap()
    }
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, format!("localhost:{port}"))
}

/// A collector, and a driver for it.
async fn start(statuses: &[u16], pairs: &[(&str, &str)]) -> (Collector, Driver) {
    let (listener, host) = listener().await;
    let collector = Collector::answering(statuses);
    collector.listen(listener, None);
    let url = format!("http://{host}");
    let driver = driver("splunk", &[&[("splunk-url", &*url), ("splunk-token", TOKEN)], pairs].concat());
    (collector, driver)
}

#[tokio::test]
async fn events_say_who_wrote_what_and_when() {
    let pairs = [("splunk-source", "src"), ("splunk-sourcetype", "type"), ("splunk-index", "main"), ("labels", "tier")];
    let (collector, mut driver) = start(&[], &pairs).await;
    assert!(driver.connects_at_start());
    driver.connect().await.unwrap();
    driver.send(&[stdout("hello"), stderr(b"{\"bad\": \xff}".to_vec())]).await.unwrap();
    let requests = collector.take();
    assert_eq!(requests.iter().map(Request::method).collect::<Vec<_>>(), [Method::OPTIONS, Method::POST]);
    for request in &requests {
        assert_eq!(request.uri().path(), "/services/collector/event/1.0");
        assert_eq!(request.headers()["authorization"], format!("Splunk {TOKEN}"));
    }
    let events: Vec<Value> = Deserializer::from_slice(requests[1].body()).into_iter().map(Result::unwrap).collect();
    let event = |line: &str, source: &str| {
        json!({
            "event": {"line": line, "source": source, "tag": "0123456789ab", "attrs": {"tier": "front"}},
            "time": "1767323045.600000", "host": "node1", "source": "src", "sourcetype": "type", "index": "main",
        })
    };
    assert_eq!(events, [event("hello", "stdout"), event("{\"bad\": \u{fffd}}", "stderr")]);
}

#[tokio::test]
async fn json_stays_json_when_asked_for() {
    let (collector, mut driver) = start(&[], &[("splunk-format", "json"), ("tag", "")]).await;
    driver.send(&[stdout("{\"a\": [1, 2.50]}"), stdout("{broken"), stdout("")]).await.unwrap();
    let lines: Vec<Value> = collector.events().into_iter().map(|event| event["event"].clone()).collect();
    let expected = [json!({"a": [1, 2.5]}), json!("{broken"), json!("")];
    assert_eq!(lines, expected.map(|line| json!({"line": line, "source": "stdout"})));
}

#[tokio::test]
async fn raw_lines_are_events_and_blank_ones_none() {
    let (collector, mut driver) = start(&[], &[("splunk-format", "raw"), ("env", "STAGE")]).await;
    driver.send(&[stdout(" \t"), stdout("text")]).await.unwrap();
    assert_eq!(collector.events()[0]["event"], "0123456789ab STAGE=test=1 text");
    driver.send(&[stdout(""), stdout("  ")]).await.unwrap();
    assert!(collector.take().is_empty());
}

#[tokio::test]
async fn requests_are_bounded_and_compressed_when_asked_for() {
    let (collector, mut driver) = start(&[], &[("splunk-gzip", "true"), ("splunk-gzip-level", "9")]).await;
    let mut lines = vec![stdout("x"); 2001];
    lines.push(stdout(noise(600_000)));
    driver.send(&lines).await.unwrap();
    let requests = collector.take();
    let mut events = Vec::new();
    for request in &requests {
        assert_eq!(request.headers()["content-encoding"], "gzip");
        let mut text = String::new();
        GzDecoder::new(&request.body()[..]).read_to_string(&mut text).unwrap();
        events.push(Deserializer::from_str(&text).into_iter::<Value>().count());
    }
    assert!(events.len() >= 4 && events.iter().all(|count| *count <= 1000), "{events:?}");
    assert_eq!((events.iter().sum::<usize>(), events.last()), (2002, Some(&1)));
}

#[tokio::test]
async fn statuses_say_whether_another_try_makes_sense() {
    let (_collector, mut driver) = start(&[503, 500, 429, 400, 403, 201], &[]).await;
    for retryable in [true, true, true, false, false] {
        let error = driver.send(&[stdout("x")]).await.unwrap_err();
        assert_eq!(error.is_retryable(), retryable, "{error}");
        assert!(error.to_string().contains("{\"text\":\"why\",\"code\":4}"), "{error}");
        assert!(!format!("{error:?}").contains(TOKEN));
    }
    driver.send(&[stdout("x")]).await.unwrap();
}

#[tokio::test]
async fn a_collector_that_comes_back_is_found_again() {
    let (listener, host) = listener().await;
    let local = listener.local_addr().unwrap();
    let collector = Collector::default();
    let server = collector.listen(listener, None);
    let url = format!("http://{host}");
    let mut driver = driver("splunk", &[("splunk-url", &url), ("splunk-token", TOKEN)]);
    driver.send(&[stdout("before")]).await.unwrap();
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    let error = driver.send(&[stdout("while it is away")]).await.unwrap_err();
    assert!(matches!(error, SendError::Http { .. }) && error.is_retryable(), "{error}");
    assert!(!format!("{error:?}").contains(TOKEN));
    collector.listen(TcpListener::bind(local).await.unwrap(), None);
    send_until_taken(&mut driver, stdout("after")).await;
    assert_eq!(collector.events().last().unwrap()["event"]["line"], "after");
}

#[tokio::test]
async fn over_tls_the_collector_must_be_who_it_says() {
    let (authority, collector) = (Authority::new(), Collector::default());
    let (listener, host) = listener().await;
    collector.listen(listener, Some(authority.acceptor("collector.test", false)));
    let (url, ca) = (format!("https://{host}"), authority.path("ca.pem"));
    let with =
        |pairs: &[(&str, &str)]| driver("splunk", &[&[("splunk-url", &*url), ("splunk-token", TOKEN)], pairs].concat());
    with(&[("splunk-capath", &ca), ("splunk-caname", "collector.test")]).send(&[stdout("a")]).await.unwrap();
    with(&[("splunk-insecureskipverify", "true")]).send(&[stdout("b")]).await.unwrap();
    assert_eq!(collector.events().len(), 2);
    let other = Authority::new();
    let foreign = other.path("ca.pem");
    for pairs in [&[("splunk-capath", &*ca)][..], &[("splunk-capath", &foreign), ("splunk-caname", "collector.test")]] {
        let error = with(pairs).send(&[stdout("c")]).await.unwrap_err();
        assert!(matches!(error, SendError::Http { .. }), "{error}");
    }
    assert!(collector.take().is_empty());
}

#[test]
fn options_are_refused_with_their_reasons() {
    let (url, token) = (("splunk-url", "http://h:8088"), ("splunk-token", TOKEN));
    let secure = ("splunk-url", "https://h:8088");
    let form = "invalid value for splunk-url: expected format scheme://dns_name_or_ip:port for splunk-url";
    for (pairs, expected) in [
        (&[token][..], "splunk: splunk-url is expected"),
        (&[url], "splunk: splunk-token is expected"),
        (&[url, ("splunk-token", "a\nb")], "invalid value for splunk-token: it has characters that no token has"),
        (&[("splunk-url", "h:8088"), token], form),
        (&[("splunk-url", "ftp://h"), token], form),
        (&[("splunk-url", "https://h/path"), token], form),
        (&[("splunk-url", "https://h/?q"), token], form),
        (&[("splunk-url", "https://h/#f"), token], form),
        (&[("splunk-url", "https://u:p@h"), token], form),
        (&[url, token, ("x", "1")], "unknown log opt 'x' for splunk log driver"),
        (
            &[url, token, ("splunk-format", "xml")],
            "invalid value for splunk-format: supported formats are inline, json and raw",
        ),
        (&[url, token, ("splunk-gzip-level", "10")], "invalid value for splunk-gzip-level: not between -1 and 9"),
        (&[url, token, ("splunk-gzip", "maybe")], "invalid value for splunk-gzip: neither true nor false"),
        (&[secure, token, ("splunk-capath", "/nowhere")], "splunk-capath: cannot use /nowhere"),
    ] {
        assert_eq!(refusal("splunk", pairs), expected);
    }
}

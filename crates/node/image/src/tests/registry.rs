//! A registry on loopback that does what a test wants, and remembers what it was asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::header::{AUTHORIZATION, HOST, RANGE};
use http::{HeaderMap, Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{config, gzip};
use crate::digest::Digest;

/// What was asked: `GET /v2/…`, and the headers that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub line: String,
    pub host: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
}

/// An answer, after a pause; with `cut`, the connection breaks after so many bytes of it, or, if it `stalls`, is silent.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub cut: Option<usize>,
    pub stalls: bool,
    pub pause: Duration,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None, stalls: false, pause: Duration::ZERO }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a repository named `app` has, by path below `/v2/app/`.
#[derive(Debug, Clone, Default)]
pub struct Content(pub BTreeMap<String, Vec<u8>>);

impl Content {
    /// An image of these layers, compressed, under a tag; behind an index if `indexed`.
    pub fn image(mut self, tag: &str, layers: &[Vec<u8>], indexed: bool) -> Self {
        let manifest = self.manifest_of(layers, layers.iter().map(|layer| gzip(layer)));
        if !indexed {
            return self.manifest(tag, manifest);
        }
        let platform = json!({ "os": "linux", "architecture": crate::config::architecture() });
        let entry =
            json!({ "digest": Digest::of(&manifest).to_string(), "size": manifest.len(), "platform": platform });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string().into_bytes();
        self.manifest("by-digest-only", manifest).manifest(tag, index)
    }

    /// An image of these layers, which come as these blobs, under a tag.
    pub fn image_as(mut self, tag: &str, layers: &[Vec<u8>], blobs: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let manifest = self.manifest_of(layers, blobs);
        self.manifest(tag, manifest)
    }

    fn manifest_of(&mut self, layers: &[Vec<u8>], blobs: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
        let config = self.blob(config(layers).into_bytes());
        let blobs: Vec<Value> = blobs.into_iter().map(|blob| self.blob(blob)).collect();
        json!({ "schemaVersion": 2, "config": config, "layers": blobs }).to_string().into_bytes()
    }

    pub fn manifest(mut self, tag: &str, bytes: Vec<u8>) -> Self {
        self.0.insert(format!("manifests/{}", Digest::of(&bytes)), bytes.clone());
        self.0.insert(format!("manifests/{tag}"), bytes);
        self
    }

    pub fn blob(&mut self, bytes: Vec<u8>) -> Value {
        let digest = Digest::of(&bytes).to_string();
        let descriptor = json!({ "digest": digest, "size": bytes.len() });
        self.0.insert(format!("blobs/{digest}"), bytes);
        descriptor
    }

    /// What an honest registry answers.
    pub fn reply(&self, asked: &Asked) -> Reply {
        let (method, path) = asked.line.split_once(' ').unwrap();
        let Some(bytes) = path.strip_prefix("/v2/app/").and_then(|path| self.0.get(path)) else {
            let told = json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "message": "manifest unknown" }] });
            return Reply::new(404, told.to_string());
        };
        let digest = Digest::of(bytes).to_string();
        let from = asked.range.as_ref().map(|range| range["bytes=".len()..range.len() - 1].parse::<usize>().unwrap());
        let body = if method == "HEAD" { &[] } else { &bytes[from.unwrap_or(0)..] };
        Reply::new(if from.is_some() { 206 } else { 200 }, body).with("docker-content-digest", digest)
    }
}

/// A registry; gone when it is dropped.
pub struct Registry {
    /// `127.0.0.1:<port>`
    pub host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Registry {
    /// One that has this, and is honest.
    pub async fn of(content: Content) -> Self {
        Self::new(move |asked| content.reply(asked)).await
    }

    pub async fn new(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (remembered, reply) = (Arc::clone(&asked), Arc::new(reply));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (remembered, reply) = (Arc::clone(&remembered), Arc::clone(&reply));
                let service = service_fn(move |request: Request<Incoming>| {
                    let asked = asked_by(&request);
                    remembered.lock().unwrap().push(asked.clone());
                    let reply = reply(&asked);
                    async move {
                        tokio::time::sleep(reply.pause).await;
                        Ok::<_, Infallible>(answer(reply))
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                // A connection that breaks is what some tests want.
                connections.spawn(async move { drop(http.serve_connection(TokioIo::new(stream), service).await) });
            }
        });
        Self { host, asked, task }
    }

    /// The image's name.
    pub fn name(&self, tag: &str) -> String {
        format!("{}/app:{tag}", self.host)
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Its lines alone.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// Ends it, connections included.
    pub async fn stop(self) {
        self.task.abort();
        // It was cancelled: that is the answer.
        let _ = self.task.await;
    }
}

fn asked_by(request: &Request<Incoming>) -> Asked {
    let header = |headers: &HeaderMap, name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    Asked {
        line: format!("{} {}", request.method(), request.uri()),
        host: header(request.headers(), HOST).unwrap(),
        authorization: header(request.headers(), AUTHORIZATION),
        range: header(request.headers(), RANGE),
    }
}

type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

fn answer(reply: Reply) -> Response<Body> {
    let cut = reply.cut.unwrap_or(reply.body.len());
    let data = Bytes::copy_from_slice(&reply.body[..cut]);
    let body = stream::once(async { Ok(Frame::data(data)) });
    let stalls = reply.stalls;
    let end = stream::iter(reply.cut).then(move |_| async move {
        // What comes before is sent while the body makes the server wait.
        tokio::task::yield_now().await;
        if stalls {
            std::future::pending::<()>().await;
        }
        Err(io::Error::other("cut"))
    });
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(StreamBody::new(body.chain(end).boxed())).unwrap()
}

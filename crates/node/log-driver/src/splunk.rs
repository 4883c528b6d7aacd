//! `splunk`: Splunk's HTTP Event Collector (docs.docker.com/engine/logging/drivers/splunk).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{AUTHORIZATION, CONTENT_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::attributes::attributes;
use crate::connection::CONNECT_TIMEOUT;
use crate::container::ContainerInfo;
use crate::error::{OptionError, SendError};
use crate::line::{LogLine, batches};
use crate::options::{Options, invalid};
use crate::splunk_event::{Events, Format};
use crate::tag::tag;
use crate::tls::{Trust, trust_nobody};

const NAME: &str = "splunk";
const URL: &str = "splunk-url";
const TOKEN: &str = "splunk-token";
const CA_PATH: &str = "splunk-capath";
const CA_NAME: &str = "splunk-caname";
const FORMAT: &str = "splunk-format";
const KNOWN: &[&str] = &[
    URL,
    TOKEN,
    CA_PATH,
    CA_NAME,
    FORMAT,
    "splunk-gzip",
    "splunk-gzip-level",
    "splunk-index",
    "splunk-insecureskipverify",
    "splunk-source",
    "splunk-sourcetype",
    "splunk-verify-connection",
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "tag",
];
const PATH: &str = "/services/collector/event/1.0";
/// For a request and its answer, as with Docker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Events of one request: as many as with Docker, and below the collector's limits, of which the smallest was 1 MB.
const REQUEST_LINES_MAX: usize = 1000;
const REQUEST_BYTES_MAX: usize = 512 << 10;
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Of an answer, in an error.
const ANSWER_CHARACTERS_SHOWN: usize = 200;

type Client = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The driver.
pub(crate) struct Splunk {
    client: Client,
    uri: Uri,
    /// The value of the header Authorization.
    authorization: Zeroizing<String>,
    gzip: Option<Compression>,
    is_verified: bool,
    events: Events,
}

impl Splunk {
    pub fn new(map: &BTreeMap<String, String>, container: &ContainerInfo) -> Result<Self, OptionError> {
        let options = Options::new(NAME, map, KNOWN)?;
        let uri = uri(options.required(URL)?)
            .ok_or_else(|| invalid(URL, "expected format scheme://dns_name_or_ip:port for splunk-url"))?;
        let authorization = Zeroizing::new(format!("Splunk {}", options.required(TOKEN)?));
        HeaderValue::from_str(&authorization).map_err(|_| invalid(TOKEN, "it has characters that no token has"))?;
        let level = options.compression("splunk-gzip-level")?.unwrap_or_default();
        let is_gzip = options.boolean("splunk-gzip", false)?;
        Ok(Self {
            client: client(&options, &uri)?,
            uri,
            authorization,
            gzip: is_gzip.then_some(level),
            is_verified: options.boolean("splunk-verify-connection", true)?,
            events: events(&options, container)?,
        })
    }

    pub fn connects_at_start(&self) -> bool {
        self.is_verified
    }

    pub async fn connect(&mut self) -> Result<(), SendError> {
        self.request(Method::OPTIONS, Bytes::new(), false).await
    }

    pub async fn send(&mut self, lines: &[LogLine]) -> Result<(), SendError> {
        for lines in batches(lines, REQUEST_LINES_MAX, REQUEST_BYTES_MAX, self.events.overhead_bytes()) {
            let events: String = lines.iter().filter_map(|line| self.events.json(line)).collect();
            if !events.is_empty() {
                let body = match self.gzip {
                    Some(level) => gzip(events.as_bytes(), level).map_err(|error| self.unreachable(error))?,
                    None => events.into_bytes(),
                };
                self.request(Method::POST, body.into(), self.gzip.is_some()).await?;
            }
        }
        Ok(())
    }

    async fn request(&self, method: Method, body: Bytes, is_gzip: bool) -> Result<(), SendError> {
        let mut authorization = HeaderValue::from_str(&self.authorization).map_err(|error| self.unreachable(error))?;
        authorization.set_sensitive(true);
        let mut request = Request::builder().method(method).uri(self.uri.clone()).header(AUTHORIZATION, authorization);
        if is_gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let request = request.body(Full::new(body)).map_err(|error| self.unreachable(error))?;
        let answered = timeout(REQUEST_TIMEOUT, async {
            let response = self.client.request(request).await.map_err(|error| self.unreachable(error))?;
            self.check(response).await
        });
        let late = |_| SendError::Timeout { address: self.address(), operation: "answer", limit: REQUEST_TIMEOUT };
        answered.await.map_err(late)?
    }

    /// The answer is read to its end also when nobody wants it, for the connection is good for another request then.
    async fn check(&self, response: Response<Incoming>) -> Result<(), SendError> {
        let status = response.status();
        let answer = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        if status.is_success() {
            return Ok(());
        }
        let answer = answer.map(|answer| shown(&answer.to_bytes())).unwrap_or_default();
        Err(SendError::Status { address: self.address(), status: status.as_u16(), answer })
    }

    fn unreachable(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SendError {
        SendError::Http { address: self.address(), source: source.into() }
    }

    fn address(&self) -> String {
        self.uri.to_string()
    }
}

fn shown(answer: &[u8]) -> String {
    let visible = |character: char| if character.is_control() { ' ' } else { character };
    String::from_utf8_lossy(answer).chars().take(ANSWER_CHARACTERS_SHOWN).map(visible).collect()
}

fn gzip(bytes: &[u8], level: Compression) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The collector at `url`, which has a scheme and a host, and neither a path nor a user.
fn uri(url: &str) -> Option<Uri> {
    let given: Uri = url.parse().ok()?;
    let scheme = given.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
    let authority = given.authority().filter(|authority| !authority.as_str().contains('@'))?;
    if url.contains('#') || !matches!(given.path_and_query().map_or("", PathAndQuery::as_str), "" | "/") {
        return None;
    }
    Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query(PATH).build().ok()
}

fn client(options: &Options<'_>, uri: &Uri) -> Result<Client, OptionError> {
    let trust = Trust {
        authorities: options.path(CA_PATH).map(|path| (CA_PATH, path)),
        skip_verify: options.boolean("splunk-insecureskipverify", false)?,
        identity: None,
    };
    let is_tls = uri.scheme_str() == Some("https");
    let config = if is_tls { trust.config()? } else { trust_nobody()? };
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    if let Some(name) = options.text(CA_NAME) {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| invalid(CA_NAME, "no host name"))?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = builder.enable_http1().wrap_connector(tcp);
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    Ok(builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_MAX).build(connector))
}

fn events(options: &Options<'_>, container: &ContainerInfo) -> Result<Events, OptionError> {
    let format = match options.text(FORMAT) {
        None | Some("inline") => Format::Inline,
        Some("json") => Format::Json,
        Some("raw") => Format::Raw,
        Some(_) => return Err(invalid(FORMAT, "supported formats are inline, json and raw")),
    };
    let text = |option: &str| options.text(option).map(str::to_owned);
    Ok(Events {
        format,
        host: container.host_name.clone(),
        source: text("splunk-source"),
        source_type: text("splunk-sourcetype"),
        index: text("splunk-index"),
        tag: if options.is_emptied("tag") { String::new() } else { tag(options, container)? },
        attributes: attributes(options, container, str::to_owned)?,
    })
}

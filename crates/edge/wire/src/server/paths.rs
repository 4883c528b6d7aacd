//! Paths that are no AWS API: health, metrics, the node protocol's WebSockets.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;

use super::body::ResponseBody;
use super::upgrade::{TokenUpgradeHandler, UpgradeHandler};

/// Serves one path in plain HTTP. No signature is looked at: what it serves is public, or it checks by itself.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Answers one request. The body is not read yet: use [`super::read_body`], which keeps to limits.
    async fn handle(&self, request: Request<Incoming>) -> Response<ResponseBody>;
}

/// What serves a path.
#[derive(Clone)]
pub(super) enum Route {
    Plain(Arc<dyn Handler>),
    TokenUpgrade(Arc<dyn TokenUpgradeHandler>),
    Upgrade {
        /// The signing name that upgrade requests must be scoped to.
        service: String,
        handler: Arc<dyn UpgradeHandler>,
    },
}

/// The registered paths.
#[derive(Default)]
pub(super) struct Paths {
    exact: BTreeMap<String, Route>,
    /// Without the `*`; the longest that fits wins.
    prefixes: BTreeMap<String, Route>,
}

impl Paths {
    /// `path` is exact, or ends in `/*` and stands for all that begins with what is before the `*`.
    pub(super) fn insert(&mut self, path: &str, route: Route) {
        match path.strip_suffix('*') {
            Some(prefix) => self.prefixes.insert(prefix.to_owned(), route),
            None => self.exact.insert(path.to_owned(), route),
        };
    }

    /// What serves the request, unless it is an AWS API's. Those come to `/` too: there, whatever is signed, posted or
    /// has a query is theirs.
    pub(super) fn find(&self, parts: &Parts) -> Option<&Route> {
        let path = parts.uri.path();
        if path == "/" {
            let is_api = parts.headers.contains_key(AUTHORIZATION) || parts.uri.query().is_some();
            let is_read = matches!(parts.method, http::Method::GET | http::Method::HEAD);
            return self.exact.get(path).filter(|_| is_read && !is_api);
        }
        self.exact.get(path).or_else(|| {
            // Of two prefixes of one path, the longer is the greater.
            let up_to_path = (Bound::<&str>::Unbounded, Bound::Included(path));
            let mut fitting =
                self.prefixes.range::<str, _>(up_to_path).rev().filter(|(prefix, _)| path.starts_with(*prefix));
            fitting.next().map(|(_, route)| route)
        })
    }
}

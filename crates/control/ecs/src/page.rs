//! Pages of lists: a token names the last row of the page before, sealed, so that it is good for the list that it was given
//! out for and for no other. Nothing is kept of it.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use estiva_api_ecs::Error;
use estiva_model::Caller;
use estiva_schema::{Encode, Request, Shaped, json};
use estiva_store::Row;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::invalid;

/// The largest page of ECS' lists, and the one of a caller who says nothing.
const PAGE_MAX: usize = 100;

/// The form of tokens; another one is not read.
const VERSION: u8 = 1;
/// Of a seal, which is cut.
const SEAL_BYTES: usize = 16;

/// Seals the tokens of an installation's lists. Clones have the same key.
#[derive(Clone)]
pub(crate) struct PageTokens(Arc<Zeroizing<[u8; 32]>>);

impl PageTokens {
    /// With a key that stays the same over restarts, if tokens are to.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Arc::new(Zeroizing::new(key)))
    }

    /// The tokens of the list that the request asks for: of this account and region, by this operation, with these parameters.
    pub fn of<Input: Encode + Shaped>(&self, request: &Request<Input>) -> ListTokens {
        let Caller { account, region, .. } = &request.caller;
        let mut parameters = json::to_value(&request.input);
        if let Some(parameters) = parameters.as_object_mut() {
            // What differs from page to page.
            parameters.retain(|name, _| name != "nextToken" && name != "maxResults");
        }
        let list = format!("{account}/{region}/{}/{parameters}", Input::SHAPE.name);
        ListTokens { tokens: self.clone(), list }
    }
}

impl fmt::Debug for PageTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PageTokens(…)")
    }
}

/// The tokens of one list.
#[derive(Debug)]
pub(crate) struct ListTokens {
    tokens: PageTokens,
    list: String,
}

impl ListTokens {
    /// The token of the page behind `position`.
    pub fn seal(&self, position: &str) -> String {
        let mut token = vec![VERSION];
        token.extend_from_slice(position.as_bytes());
        let seal = self.mac(position).map(|mac| mac.finalize().into_bytes());
        token.extend_from_slice(seal.as_deref().and_then(|seal| seal.get(..SEAL_BYTES)).unwrap_or_default());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The position that the token was sealed with.
    pub fn open(&self, token: &str) -> Option<String> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (position, seal) = token.split_at_checked(token.len().checked_sub(SEAL_BYTES)?)?;
        let position = std::str::from_utf8(position.strip_prefix(&[VERSION])?).ok().filter(|it| !it.is_empty())?;
        self.mac(position)?.verify_truncated_left(seal).ok()?;
        Some(position.to_owned())
    }

    /// `None` for no key: an HMAC takes keys of any length.
    fn mac(&self, position: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.tokens.0[..]).ok()?;
        // The list's length goes first, so that no part of it can be taken for one of the position.
        for part in [self.list.len().to_string().as_str(), "/", &self.list, position] {
            mac.update(part.as_bytes());
        }
        Some(mac)
    }
}

/// One page of a list of rows that are in order of their key.
#[derive(Debug)]
pub struct Page {
    /// The key after which the page begins; empty for the first page.
    pub after: String,
    limit: usize,
    tokens: ListTokens,
}

impl Page {
    /// The page that a request's `nextToken` and `maxResults` (1 to 100) name.
    pub(crate) fn new(tokens: ListTokens, next_token: Option<&str>, max_results: Option<i32>) -> Result<Self, Error> {
        let limit = match max_results {
            None => PAGE_MAX,
            Some(number) => usize::try_from(number)
                .ok()
                .filter(|number| (1..=PAGE_MAX).contains(number))
                .ok_or_else(|| invalid(format!("Invalid maxResults {number}: it must be from 1 to {PAGE_MAX}.")))?,
        };
        let after = match next_token {
            None => String::new(),
            Some(token) => tokens.open(token).ok_or_else(|| invalid("Invalid token"))?,
        };
        Ok(Self { after, limit, tokens })
    }

    /// The page's rows out of those behind [`Self::after`], and the token of the next page if there is one.
    pub fn cut<T>(&self, rows: impl Iterator<Item = T>, key: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        let mut page: Vec<T> = rows.take(self.limit + 1).collect();
        let more = page.len() > self.limit;
        page.truncate(self.limit);
        let token = page.last().filter(|_| more).map(|last| self.tokens.seal(&key(last)));
        (page, token)
    }
}

/// Two lists in order of their key, as one.
pub(crate) fn merged<R: Row>(
    first: impl Iterator<Item = Arc<R>>,
    second: impl Iterator<Item = Arc<R>>,
) -> impl Iterator<Item = Arc<R>> {
    let (mut first, mut second) = (first.peekable(), second.peekable());
    std::iter::from_fn(move || match (first.peek(), second.peek()) {
        (Some(one), Some(other)) if other.key() < one.key() => second.next(),
        (Some(_), _) => first.next(),
        (None, _) => second.next(),
    })
}

#[cfg(test)]
mod tests;

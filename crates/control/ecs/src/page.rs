//! Pages of lists: a token names the last row of the page before.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use estiva_api_ecs::Error;
use estiva_store::Row;

use crate::error::invalid;

/// The largest page of ECS' lists, and the one of a caller who says nothing.
const PAGE_MAX: usize = 100;

/// One page of a list of rows that are in order of their key.
#[derive(Debug)]
pub struct Page {
    /// The key after which the page begins; empty for the first page.
    pub after: String,
    limit: usize,
}

impl Page {
    /// The page that a request's `nextToken` and `maxResults` (1 to 100) name.
    pub fn new(next_token: Option<&str>, max_results: Option<i32>) -> Result<Self, Error> {
        let limit = match max_results {
            None => PAGE_MAX,
            Some(number) => usize::try_from(number)
                .ok()
                .filter(|number| (1..=PAGE_MAX).contains(number))
                .ok_or_else(|| invalid(format!("Invalid maxResults {number}: it must be from 1 to {PAGE_MAX}.")))?,
        };
        let after = match next_token {
            None => String::new(),
            Some(token) => decode(token).ok_or_else(|| invalid("Invalid token"))?,
        };
        Ok(Self { after, limit })
    }

    /// The page's rows out of those behind [`Self::after`], and the token of the next page if there is one.
    pub fn cut<T>(&self, rows: impl Iterator<Item = T>, key: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        let mut page: Vec<T> = rows.take(self.limit + 1).collect();
        let more = page.len() > self.limit;
        page.truncate(self.limit);
        let token = page.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(key(last)));
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

fn decode(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok().filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let rows = ["a", "b", "c"];
        let from = |after: &str| rows.into_iter().filter(|row| *row > after).collect::<Vec<_>>();
        let first = Page::new(None, Some(2)).unwrap();
        let (page, token) = first.cut(from(&first.after).into_iter(), |row| (*row).to_owned());
        assert_eq!(page, ["a", "b"]);
        let second = Page::new(token.as_deref(), Some(2)).unwrap();
        let (page, token) = second.cut(from(&second.after).into_iter(), |row| (*row).to_owned());
        assert_eq!((page, token), (vec!["c"], None));
    }

    #[test]
    fn a_strange_token_or_size_is_refused() {
        for (token, size) in [(Some("%%"), None), (Some(""), None), (None, Some(0)), (None, Some(101))] {
            assert!(Page::new(token, size).is_err(), "{token:?} {size:?}");
        }
    }
}

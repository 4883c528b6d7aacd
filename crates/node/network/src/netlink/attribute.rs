//! Netlink attributes (`struct nlattr`): 16-bit length, 16-bit type, value, padded to four bytes.

/// `NLA_F_NESTED`: the value holds attributes itself.
const NESTED: u16 = 1 << 15;
/// `NLA_TYPE_MASK`: the type without its two flag bits.
const TYPE_MASK: u16 = 0x3fff;
const HEADER_BYTES: usize = 4;

/// A list of attributes under construction.
#[derive(Debug, Default)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// An empty list that follows `header`, the fixed part of its message.
    pub(crate) fn after(header: &[u8]) -> Self {
        Self(header.to_vec())
    }

    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let start = self.open(kind);
        self.0.extend_from_slice(value);
        self.close(start)
    }

    /// A 32-bit number in network byte order, as all of nfnetlink has them.
    pub(crate) fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A string with its terminating NUL.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let start = self.open(kind);
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(0);
        self.close(start)
    }

    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.open(kind | NESTED);
        fill(self);
        self.close(start)
    }

    /// Attributes that were encoded before.
    pub(crate) fn append(&mut self, encoded: &[u8]) {
        self.0.extend_from_slice(encoded);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) -> &mut Self {
        // An attribute is at most 64 KiB by its format; nothing that we encode comes near.
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// The attributes in `buffer` as (type, value); ends at the first that is malformed.
pub(crate) fn attributes(buffer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        let (length, kind) = (u16::from_ne_bytes(pair(rest, 0)?), u16::from_ne_bytes(pair(rest, 2)?));
        let value = rest.get(HEADER_BYTES..usize::from(length))?;
        rest = rest.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
        Some((kind & TYPE_MASK, value))
    })
}

fn pair(buffer: &[u8], at: usize) -> Option<[u8; 2]> {
    buffer.get(at..at + 2)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(list in prop::collection::vec((0..TYPE_MASK, prop::collection::vec(any::<u8>(), 0..40)), 0..8)) {
            let mut written = Attributes::default();
            written.nested(7, |inner| for (kind, value) in &list { inner.bytes(*kind, value); });
            let bytes = written.into_bytes();
            let (kind, inner) = attributes(&bytes).next().expect("one attribute");
            prop_assert_eq!(kind, 7);
            let read: Vec<_> = attributes(inner).map(|(kind, value)| (kind, value.to_vec())).collect();
            prop_assert_eq!(read, list);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }
    }
}

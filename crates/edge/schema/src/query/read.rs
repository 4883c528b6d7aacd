//! From a tree, of a form or of XML, to values.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use estiva_model::Timestamp;

use super::tree::Tree;
use crate::check::{Checks, Step};
use crate::{Decode, DecodeError, Decoder, Document, EntrySink, ItemSink, Kind, Presence, Shape, TimestampFormat};

/// How lists and maps stand in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Items are numbered: `name.member.1`, flattened `name.1`.
    Form,
    /// Items repeat: `<name><member/><member/></name>`, flattened `<name/><name/>`.
    Xml,
}

/// Reads one value.
pub(super) fn read(
    tree: &Tree,
    layout: Layout,
    shape: &'static Shape,
    value: &mut dyn Decode,
    checks: &mut Checks,
) -> Result<(), DecodeError> {
    let mut decoder = TreeDecoder { trees: std::slice::from_ref(tree), layout, shape, checks };
    value.decode(&mut decoder).map(|_| ())
}

struct TreeDecoder<'a, 'c> {
    /// One tree; several for a flattened list or map of XML.
    trees: &'a [Tree],
    layout: Layout,
    shape: &'static Shape,
    checks: &'c mut Checks,
}

impl<'a> TreeDecoder<'a, '_> {
    fn tree(&self) -> Result<&'a Tree, DecodeError> {
        self.trees.last().ok_or_else(|| self.malformed("there is no value"))
    }

    fn text(&self) -> Result<&'a str, DecodeError> {
        self.tree()?.text.as_deref().ok_or_else(|| self.malformed("a plain value is expected"))
    }

    /// The items of a list or the entries of a map, whose name is `name` unless they are flattened.
    fn items(&self, name: &str, flattened: bool) -> Result<Vec<&'a Tree>, DecodeError> {
        Ok(match (self.layout, flattened) {
            (Layout::Form, true) => self.tree()?.numbered(),
            (Layout::Form, false) => self.tree()?.child(name).map(Tree::numbered).unwrap_or_default(),
            (Layout::Xml, true) => self.trees.iter().collect(),
            (Layout::Xml, false) => self.tree()?.all(name).iter().collect(),
        })
    }

    /// Reads what is one step further in.
    fn inside<T>(
        &mut self,
        step: Step,
        trees: &[Tree],
        shape: &'static Shape,
        read: impl FnOnce(&mut dyn Decoder) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        self.checks.enter(step)?;
        let value = read(&mut TreeDecoder { trees, layout: self.layout, shape, checks: &mut *self.checks })?;
        self.checks.leave();
        Ok(value)
    }
}

impl Decoder for TreeDecoder<'_, '_> {
    fn structure(&mut self, members: &mut [&mut dyn Decode]) -> Result<(), DecodeError> {
        let tree = self.tree()?;
        let schema = self.shape.members();
        for (member, value) in schema.iter().zip(members) {
            let trees = tree.all(member.name);
            if trees.is_empty() {
                continue;
            }
            let strict = self.checks.is_strict();
            self.inside(Step::Member(member.name), trees, member.shape, |decoder| match value.decode(decoder)? {
                // In a request it is a violation, which is noted already.
                Presence::Unknown if member.required && !strict => Err(decoder.malformed("the value is not known")),
                _ => Ok(()),
            })?;
        }
        let is_set = |place: usize| schema.get(place).is_some_and(|member| tree.child(member.name).is_some());
        self.checks.structure(self.shape, is_set);
        Ok(())
    }

    fn list(&mut self, item: &mut ItemSink<'_>) -> Result<(), DecodeError> {
        let Kind::List { item: item_shape, item_name, flattened } = self.shape.kind else {
            return Err(self.malformed("a list is not expected"));
        };
        let items = self.items(item_name, flattened)?;
        for (index, tree) in items.iter().enumerate() {
            let trees = std::slice::from_ref(*tree);
            self.inside(Step::Item(index), trees, item_shape, &mut *item)?;
        }
        self.checks.count(self.shape, items.len());
        Ok(())
    }

    fn map(&mut self, entry: &mut EntrySink<'_>) -> Result<(), DecodeError> {
        let Kind::Map { key: key_shape, value: value_shape, key_name, value_name, flattened } = self.shape.kind else {
            return Err(self.malformed("a map is not expected"));
        };
        let entries = self.items("entry", flattened)?;
        for tree in &entries {
            let key = tree.child(key_name).and_then(|key| key.text.clone());
            let key = key.ok_or_else(|| self.malformed("an entry has no key"))?;
            self.checks.text(key_shape, &key);
            let step = Step::Key(key.clone());
            self.inside(step, tree.all(value_name), value_shape, |decoder| entry(key, decoder))?;
        }
        self.checks.count(self.shape, entries.len());
        Ok(())
    }

    fn string(&mut self) -> Result<String, DecodeError> {
        let text = self.text()?;
        self.checks.text(self.shape, text);
        Ok(text.to_owned())
    }

    fn boolean(&mut self) -> Result<bool, DecodeError> {
        match self.text()? {
            text if text.eq_ignore_ascii_case("true") => Ok(true),
            text if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(self.malformed("a boolean is expected")),
        }
    }

    fn integer(&mut self) -> Result<i64, DecodeError> {
        let number = self.text()?.parse().map_err(|_| self.malformed("an integer is expected"))?;
        self.checks.integer(self.shape, number);
        Ok(number)
    }

    fn double(&mut self) -> Result<f64, DecodeError> {
        let text = self.text()?;
        let finite = || text.parse().ok().filter(|number: &f64| number.is_finite());
        let number = crate::scalar_text::non_finite_of_name(text).or_else(finite);
        let number = number.ok_or_else(|| self.malformed("a number is expected"))?;
        self.checks.double(self.shape, number);
        Ok(number)
    }

    fn timestamp(&mut self) -> Result<Timestamp, DecodeError> {
        let format = if let Kind::Timestamp(format) = self.shape.kind { format } else { TimestampFormat::Default };
        crate::scalar_text::read_time(self.text()?, format).ok_or_else(|| self.malformed("a time is expected"))
    }

    fn blob(&mut self) -> Result<Vec<u8>, DecodeError> {
        let bytes = STANDARD.decode(self.text()?).map_err(|_| self.malformed("base64 is expected"))?;
        self.checks.count(self.shape, bytes.len());
        Ok(bytes)
    }

    fn document(&mut self) -> Result<Document, DecodeError> {
        serde_json::from_str(self.text()?).map_err(|_| self.malformed("JSON is expected"))
    }

    fn malformed(&self, reason: &str) -> DecodeError {
        DecodeError::Malformed { place: self.checks.place(), reason: reason.to_owned() }
    }
}

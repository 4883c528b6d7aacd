//! What a form and an XML document have in common: named texts inside each other.

use std::collections::BTreeMap;

/// A text, or named things inside, or both.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    /// The text; `None` where a form has only longer names than this one.
    pub(super) text: Option<String>,
    /// By name, each in the order in which it came.
    pub(super) children: BTreeMap<String, Vec<Tree>>,
}

impl Tree {
    /// The child of that name; the last where there are several.
    pub(super) fn child(&self, name: &str) -> Option<&Tree> {
        self.all(name).last()
    }

    /// All children of that name.
    pub(super) fn all(&self, name: &str) -> &[Tree] {
        self.children.get(name).map_or(&[], Vec::as_slice)
    }

    /// The children whose names are numbers, in the numbers' order.
    pub(super) fn numbered<'a>(&'a self) -> Vec<&'a Tree> {
        let number = |(name, trees): (&String, &'a Vec<Tree>)| Some((name.parse::<u32>().ok()?, trees.last()?));
        let mut numbered: Vec<(u32, &Tree)> = self.children.iter().filter_map(number).collect();
        numbered.sort_by_key(|(number, _)| *number);
        numbered.into_iter().map(|(_, tree)| tree).collect()
    }
}

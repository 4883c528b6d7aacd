//! The AWS query protocol: a form in, XML out.

mod codec;
mod element;
mod form;
mod read;
#[cfg(test)]
mod tests;
mod tree;
mod write;
mod xml;

pub(crate) use codec::QUERY;

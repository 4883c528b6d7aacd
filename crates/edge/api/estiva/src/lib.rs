//! Estiva's own API, for what AWS's have no place for: its types, its operations as the trait [`Estiva`], and the [`Endpoint`] that
//! puts one behind the edge.
//!
//! Everything but this page is generated from `models/estiva.json`, which is written by hand.

mod generated;

pub use generated::errors::Error;
pub use generated::operation_schema::SERVICE;
pub use generated::operations::*;
pub use generated::{operation_schema, schema, types};

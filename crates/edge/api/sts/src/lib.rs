//! The API of AWS STS: its types, its operations as the trait [`Sts`], and the [`Endpoint`] that puts one behind the edge.
//!
//! Everything but this page is generated from `models/sts.json`.

mod generated;

pub use generated::errors::Error;
pub use generated::operation_schema::SERVICE;
pub use generated::operations::*;
pub use generated::{operation_schema, schema, types};

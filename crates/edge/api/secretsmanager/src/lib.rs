//! The API of AWS Secrets Manager: its types, its operations as the trait [`Secretsmanager`], and the [`Endpoint`] that puts one
//! behind the edge.
//!
//! Everything but this page is generated from `models/secretsmanager.json`.

mod generated;

pub use generated::errors::Error;
pub use generated::operation_schema::SERVICE;
pub use generated::operations::*;
pub use generated::{operation_schema, schema, types};

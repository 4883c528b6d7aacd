//! The API of Amazon ECS: its types, its operations as the trait [`Ecs`], and the [`Endpoint`] that puts one behind the edge.
//!
//! Everything but this page is generated from `models/ecs.json`.

mod generated;

pub use generated::errors::Error;
pub use generated::operation_schema::SERVICE;
pub use generated::operations::*;
pub use generated::{operation_schema, schema, types};

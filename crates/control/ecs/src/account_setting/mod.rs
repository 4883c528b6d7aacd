//! Account settings: what an account, or one of its principals, wants of ECS.

pub mod handlers;
mod setting;
pub mod table;
#[cfg(test)]
mod tests;

pub use setting::{effective, of_account};

//! One file a command.

pub mod agent;
pub mod down;
pub mod env;
pub mod exec;
pub mod image;
pub mod node;
pub mod server;
pub mod service;
pub mod status;
pub mod store;
pub mod task;
pub mod top;
pub mod up;

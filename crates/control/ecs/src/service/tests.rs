//! Services over a store in memory, with a controller that runs and nodes that are a test's words.

mod controller;
mod deployments;
mod events;
mod hooks;
mod operations;
mod passes;
mod play;
mod task_sets;
mod walk;

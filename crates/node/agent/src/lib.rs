//! The container agent.

//! What holds of all operations.

mod aws_agent;
mod retries;
mod upgrade;

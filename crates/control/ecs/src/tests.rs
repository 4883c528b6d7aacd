//! What holds of all operations.

mod answers;
mod aws_agent;
mod error_texts;
mod odd_inputs;
mod retries;
mod upgrade;

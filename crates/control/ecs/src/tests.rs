//! What holds of all operations.

mod answers;
mod error_texts;
mod odd_inputs;
mod retries;
mod upgrade;

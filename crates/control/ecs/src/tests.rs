//! What holds of all operations.

mod retries;
mod upgrade;

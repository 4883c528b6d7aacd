//! The state of the control plane: typed tables in memory, every change durable before anyone is told of it.
//!
//! ```text
//!            update(|tx| …)                                   view() · watch()
//!                 │ runs on the head, one at a time                 ▲
//!                 ▼                                                 │
//!   head ──► queue of executed transactions ──► writer thread ──► durable snapshot, history of changes
//!                                                    │ one commit a batch
//!                                                    ▼
//!                                             Backend (SQLite | memory)
//! ```
//!
//! Memory holds every row in persistent maps, so a [`Snapshot`] costs nothing to take and never changes. A transaction
//! runs on the *head* (what will be, if the commits under way succeed) and is handed to the one writer thread, which
//! commits all that has queued up as one batch: many transactions share one fsync. Only then do readers, watchers and
//! the caller see it.
//!
//! What holds at all times:
//! - Readers and watchers see durable state only; revisions grow by one a transaction, also over restarts.
//! - A transaction is answered (`Ok` or `Err`) only when all that it read is durable.
//! - When a commit fails, every transaction that was executed on top of it fails too, and the head goes back to the
//!   durable state; the next transaction may succeed.
//! - Cost is proportional to what changed: no operation here scans a table, but the ones named `scan`.
//!
//! The store reads no clock and draws no random numbers.
//!
//! ```
//! use estiva_store::{Conflict, Row, Schema, Store, backend::Memory};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Service {
//!     name: String,
//!     cluster: String,
//!     desired_count: u32,
//! }
//!
//! impl Row for Service {
//!     const TABLE: &'static str = "services";
//!
//!     fn key(&self) -> String {
//!         format!("{}/{}", self.cluster, self.name)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open(Memory::new(), Schema::new(1).table::<Service>())?;
//! let snapshot = store.view();
//! let mut watch = store.watch(snapshot.revision());
//!
//! let seen = snapshot.revision_of::<Service>("default/web");
//! let create = store.update(|tx| {
//!     tx.expect::<Service>("default/web", seen)?;
//!     tx.put(Service { name: "web".into(), cluster: "default".into(), desired_count: 2 });
//!     Ok::<_, Conflict>(())
//! });
//! create.await?;
//!
//! for change in watch.next().await? {
//!     let service = change.row::<Service>().and_then(|change| change.after);
//!     assert_eq!(service.map(|service| service.desired_count), Some(2));
//! }
//! assert_eq!(store.view().scan::<Service>("default/").count(), 1);
//! # Ok(())
//! # }
//! ```

pub mod backend;
mod error;
mod migration;
mod open;
mod row;
mod schema;
mod snapshot;
mod store;
mod table;
mod transaction;
mod watch;
mod writer;

pub use error::{BackendError, Conflict, Lagged, OpenError, SchemaError, StoreError, UpdateError, WatchError};
pub use migration::{Migration, Rows};
pub use row::{KEY_BYTES_MAX, ROW_BYTES_MAX, Revision, Row};
pub use schema::Schema;
pub use snapshot::{Difference, Snapshot};
pub use store::{Options, Store};
pub use transaction::Tx;
pub use watch::{Change, RowChange, Watch};

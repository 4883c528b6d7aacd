//! Log groups: what they are called, how long their events are kept, how they are tagged.

mod describe;
mod handlers;
mod table;
mod tags;

pub(crate) use describe::describe;
pub(crate) use handlers::{create, delete, delete_retention, put_deletion_protection, put_retention};
pub(crate) use table::{LogGroupRow, find};
pub(crate) use tags::{
    list_tags_for_resource, list_tags_log_group, tag_log_group, tag_resource, untag_log_group, untag_resource,
};

//! Who runs the installation, as opposed to what runs on it.

use estiva_model::{Caller, Principal};

use crate::NODE_ROLE;

/// The owner and the nodes: how much they ask is no attack. Everybody else is a task with a role, which is to leave room for
/// others.
pub fn is_operator(caller: &Caller) -> bool {
    match &caller.principal {
        Principal::Root => true,
        Principal::AssumedRole { role, .. } => role == NODE_ROLE,
    }
}

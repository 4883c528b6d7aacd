//! A value that is made when it is first asked for, and again when making it failed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::EngineError;

/// Many may ask at once; one makes the value and the others wait for it.
pub(super) struct Lazy<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Lazy<T> {
    pub(super) fn get_or_try(&self, make: impl FnOnce() -> Result<T, EngineError>) -> Result<Arc<T>, EngineError> {
        let mut value = lock(&self.0);
        if let Some(value) = &*value {
            return Ok(Arc::clone(value));
        }
        Ok(Arc::clone(value.insert(Arc::new(make()?))))
    }
}

/// The lock, also after a thread panicked with it: what these locks guard is whole between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

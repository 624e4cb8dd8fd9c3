//! A lock that a panic does not poison.
//!
//! Invariant: only for values that a panic in a critical section cannot leave half changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks the mutex, also if a thread panicked while it held the lock.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

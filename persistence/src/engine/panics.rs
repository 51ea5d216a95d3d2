//! Panics in a user's code, caught where they happen.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Drops a value of the user's; what its destructor does is no reason to stop a shard.
pub(crate) fn drop_quietly<T>(value: T) {
    // A panic was reported by the hook of the process; there is nobody to tell here.
    let _ = catch_unwind(AssertUnwindSafe(move || drop(value)));
}

/// Runs a user's code; what a panic in it said is the error.
pub(crate) fn caught<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    // What a panic leaves half-done is for the caller to throw away.
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| panic_message(panic.as_ref()))
}

/// What a panic said.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

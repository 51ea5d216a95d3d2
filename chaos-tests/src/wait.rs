//! Waiting for something to come true, with a limit and with words for when it does not.

use std::time::Duration;

use anyhow::{Result, anyhow};

const PAUSE: Duration = Duration::from_millis(25);

/// Tries until it succeeds, and gives what it found.
///
/// # Errors
/// If it has not succeeded within the limit: names what was waited for and why the last try failed.
pub async fn until<T, F: Future<Output = Result<T>>>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T> {
    let mut last = anyhow!("the first try did not end");
    let found = tokio::time::timeout(limit, async {
        loop {
            match attempt().await {
                Ok(found) => return found,
                Err(error) => last = error,
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await;
    found.map_err(|_| last.context(format!("{what} did not happen within {limit:?}")))
}

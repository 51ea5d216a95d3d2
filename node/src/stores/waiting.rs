//! Patience with those who keep a store and are not there yet: `/readyz` tells for whom the node waits.

use std::time::Duration;

use abide_http_api::Readiness;

use super::registered::Cause;

/// Under this name `/readyz` tells why not all stores are open yet.
pub(crate) const OPENING: &str = "stores";

/// Pause after the first attempt, doubled by each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why an attempt to open a store has failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It may succeed another time, without anybody's doing.
    Later(String),
    /// Somebody must change something first.
    Never(Cause),
}

impl<E: Into<Cause>> From<E> for Failed {
    fn from(cause: E) -> Self {
        Self::Never(cause.into())
    }
}

/// Attempts to open a store until it is open, or never will be.
pub(super) async fn until_open<S, F>(
    store: &str,
    readiness: &Readiness,
    mut attempt: impl FnMut() -> F,
) -> Result<S, Cause>
where
    F: Future<Output = Result<S, Failed>>,
{
    let mut pause = FIRST_PAUSE;
    // The log tells changes and not every attempt.
    let mut said = String::new();
    loop {
        let why = match attempt().await {
            Ok(open) => return Ok(open),
            Err(Failed::Never(cause)) => return Err(cause),
            Err(Failed::Later(why)) => why,
        };
        if why != said {
            tracing::warn!(store, "the store cannot be opened yet: {why}");
            readiness.object(OPENING, format!("the store \"{store}\" cannot be opened yet: {why}"));
            said = why;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `/readyz` tells of the stores.
    fn told(readiness: &Readiness) -> String {
        readiness.reasons().into_iter().map(|(_, why)| why).collect()
    }

    #[tokio::test]
    async fn what_is_not_there_yet_is_tried_again_and_told() {
        let readiness = Readiness::ready();
        let mut faults = vec!["nobody at h:2", "nobody at h:1"];
        let opened = until_open("far", &readiness, || {
            let known = told(&readiness);
            let next = faults.pop();
            async move {
                match next {
                    Some("nobody at h:2") if !known.contains("h:1") => {
                        panic!("the first reason was not told")
                    }
                    Some(fault) => Err(Failed::Later(fault.to_owned())),
                    None => Ok(7),
                }
            }
        });
        assert_eq!(opened.await.expect("in the end"), 7);
        assert!(told(&readiness).contains("\"far\"") && told(&readiness).contains("h:2"));
    }

    #[tokio::test]
    async fn what_somebody_must_change_ends_the_start() {
        let readiness = Readiness::ready();
        let refused = until_open("far", &readiness, || async { Err::<(), _>(Failed::from("no")) });
        assert_eq!(refused.await.expect_err("never").to_string(), "no");
    }
}

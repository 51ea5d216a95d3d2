//! How a store shows in `/healthz`.

use abide_http_api::{Check, Failure};

/// How a store shows in `/healthz`: the name and the tags of its check, and what it means that it fails.
///
/// ```
/// use abide::StoreHealth;
/// let health = StoreHealth::default().name("orders-db").tag("orders").degraded();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreHealth {
    name: Option<String>,
    tags: Vec<String>,
    failure: Failure,
}

/// The check is called after its store, `journal.<store>` or `snapshot.<store>`, and while it fails the node is
/// not healthy.
impl Default for StoreHealth {
    fn default() -> Self {
        let tags = ["abide", "persistence"].map(str::to_owned).to_vec();
        Self { name: None, tags, failure: Failure::Unhealthy }
    }
}

impl StoreHealth {
    /// Has this name stand where the store's would: `journal.<name>`, `snapshot.<name>`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a tag, by which checks are chosen: `/healthz?tag=…`.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Has these tags instead of those that it would have.
    #[must_use]
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// While it fails `/healthz` answers 200 with the status `degraded`, instead of 503.
    #[must_use]
    pub fn degraded(mut self) -> Self {
        self.failure = Failure::Degraded;
        self
    }

    pub(crate) fn check_name(&self, kind: &str, store: &str) -> String {
        format!("{kind}.{}", self.name.as_deref().unwrap_or(store))
    }

    pub(crate) fn dress(&self, check: Check, kind: &str) -> Check {
        let check = self.tags.iter().fold(check.on_failure(self.failure), |check, tag| check.tag(tag));
        check.tag(kind)
    }
}

//! The routes.

use std::fmt;
use std::sync::Arc;

use abide_sharding::Region;
use axum::Router;
use axum::routing::get;

use crate::config::ApiConfig;
use crate::gateway::Gateway;
use crate::health::Check;
use crate::readiness::Readiness;
use crate::{entity, operations};

/// Writes all metrics of the process as Prometheus text.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the routes need.
pub struct Api {
    /// Where the entities are.
    pub region: Region,
    /// What holds for requests.
    pub config: ApiConfig,
    /// What `/readyz` tells; whoever starts and stops the node keeps a clone.
    pub readiness: Readiness,
    /// What `/healthz` asks.
    pub checks: Vec<Check>,
    /// What `/metrics` shows. The recorder must be installed before [`router`] is called.
    pub metrics: RenderMetrics,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("region", &self.region)
            .field("config", &self.config)
            .field("readiness", &self.readiness)
            .field("checks", &self.checks)
            .finish_non_exhaustive()
    }
}

/// Makes the routes.
pub fn router(api: Api) -> Router {
    let entity = || get(entity::state).post(entity::command);
    Router::new()
        .route("/v1/entities/{type}/{id}", entity())
        // An empty id is a bad id, not an unknown path.
        .route("/v1/entities/{type}/", entity())
        .route("/livez", get(operations::livez))
        .route("/readyz", get(operations::readyz))
        .route("/healthz", get(operations::healthz))
        .route("/metrics", get(operations::metrics))
        .fallback(operations::unknown_path)
        .method_not_allowed_fallback(operations::unknown_method)
        .with_state(Arc::new(Gateway::new(api)))
}

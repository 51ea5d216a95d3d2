//! The routes.

use std::fmt;
use std::sync::Arc;

use abide_sharding::Region;
use axum::Router;
use axum::routing::{MethodRouter, get};

use crate::config::ApiConfig;
use crate::gateway::Gateway;
use crate::health::Check;
use crate::readiness::Readiness;
use crate::traffic::Route;
use crate::{admin, docs, entity, events, listing, openapi, operations};

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

/// The routes of both listeners; what they count and show is one.
#[derive(Debug)]
pub struct Routers {
    /// For clients.
    pub clients: Router,
    /// For operators, on an address that clients do not reach.
    pub admin: Router,
}

/// Makes the routes for clients and those for operators.
pub fn routers(api: Api) -> Routers {
    let gateway = Arc::new(Gateway::new(api));
    Routers { clients: client_router(Arc::clone(&gateway)), admin: admin::admin_router(gateway) }
}

/// Makes the routes for clients alone.
pub fn router(api: Api) -> Router {
    client_router(Arc::new(Gateway::new(api)))
}

fn client_router(gateway: Arc<Gateway>) -> Router {
    let mut router = Router::new();
    for route in Route::ROUTED {
        if let Some(handlers) = handlers(route) {
            router = router.route(route.template(), handlers);
        }
    }
    // An empty id is a bad id, not an unknown path.
    if let Some(entity) = handlers(Route::Entity) {
        router = router.route("/v1/entities/{type}/", entity);
    }
    router
        .fallback(operations::unknown_path)
        .method_not_allowed_fallback(operations::unknown_method)
        .with_state(gateway)
}

fn handlers(route: Route) -> Option<MethodRouter<Arc<Gateway>>> {
    match route {
        Route::Entity => Some(get(entity::state).post(entity::command)),
        Route::Events => Some(get(events::events)),
        Route::Ids => Some(get(listing::ids)),
        Route::OpenApi => Some(get(openapi::openapi)),
        Route::Docs => Some(get(docs::docs)),
        Route::Livez => Some(get(operations::livez)),
        Route::Readyz => Some(get(operations::readyz)),
        Route::Healthz => Some(get(operations::healthz)),
        Route::Metrics => Some(get(operations::metrics)),
        Route::Parked
        | Route::Release
        | Route::ParkedShards
        | Route::AcceptLoss
        | Route::ReleaseShard
        | Route::Unmatched => None,
    }
}

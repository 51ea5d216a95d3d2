//! What a node answers while it is still starting: that it lives, and why it is not ready.
//!
//! Every answer ends its connection, so that clients find the real routes once they are there.

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;

use crate::operations;
use crate::problem::{Problem, ProblemKind};
use crate::readiness::Readiness;
use crate::traffic::Route;

/// Makes the routes of a node that does not serve yet.
pub fn lobby(readiness: Readiness) -> Router {
    let ready = move || async move { operations::told(&readiness) };
    Router::new()
        .route(
            Route::Livez.template(),
            get(|| async { operations::text("text/plain; charset=utf-8", "ok\n") }),
        )
        .route(Route::Readyz.template(), get(ready))
        .fallback(not_yet)
        .layer(from_fn(last_answer))
}

async fn not_yet() -> Response {
    let words = "the node is still starting; /readyz tells what it waits for";
    Problem::new(ProblemKind::NoOwner, words).into_response()
}

async fn last_answer(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

//! `GET /openapi.json`: the contract with clients, as an OpenAPI 3.1 document.
//!
//! Made from what the program really has: its routes, its kinds of problems, its entity types. Each entity
//! type has paths of its own, so that its commands and replies are described where they are used.

mod operation;
mod schemas;

use std::sync::Arc;

use abide_sharding::TypeSchemas;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::gateway::Gateway;
use crate::operations;
use crate::problem::ProblemKind;
use crate::traffic::Route;

pub(crate) async fn openapi(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let work = async {
        let contract = gateway.contract.get_or_init(|| {
            let types: Vec<_> = gateway.region.schemas().collect();
            // Made of strings, numbers and maps by names; it can be encoded.
            Bytes::from(serde_json::to_vec(&document(&types)).unwrap_or_default())
        });
        operations::text("application/json", contract.clone())
    };
    gateway.observed(Route::OpenApi, request.method(), work).await
}

fn document(types: &[(&'static str, Option<TypeSchemas>)]) -> Value {
    let mut paths = Map::new();
    for route in Route::ROUTED {
        let template = route.template();
        if template.contains("{type}") {
            for (name, _) in types {
                paths.insert(template.replace("{type}", name), operation::operations(route, Some(name)));
            }
        } else {
            paths.insert(template.to_owned(), operation::operations(route, None));
        }
    }
    let mut components = schemas::shared();
    for (name, schemas) in types {
        schemas::of_type(name, schemas.as_ref(), &mut components);
    }
    let problems: Vec<_> = ProblemKind::ALL.iter().map(|kind| kind.slug()).collect();
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Abide",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Persistent entities over HTTP. Whatever is not answered by an entity is a problem \
                document (RFC 9457); its `type` is stable, and its `outcome` says whether a command may have \
                taken effect.",
        },
        "paths": paths,
        "components": { "schemas": components },
        "x-abide-entity-types": types.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        "x-abide-problems": problems,
    })
}

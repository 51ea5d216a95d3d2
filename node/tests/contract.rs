//! `/openapi.json` says what the program does: real requests and answers of the demo types are what their
//! schemas say, every reference leads somewhere, and the routes are the router's.

use std::collections::BTreeSet;

use abide::config::Config;
use abide::{App, Node, demo};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

struct Service {
    node: Node,
    contract: Value,
}

struct Answer {
    status: u16,
    allow: Option<String>,
    kind: String,
    body: Value,
}

async fn ask(node: &Node, method: &str, path: &str, body: Option<&str>) -> Answer {
    let stream = tokio::net::TcpStream::connect(node.http()).await.expect("the node listens");
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    let mut request = hyper::Request::builder().method(method).uri(path).header("host", "test");
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body: Full<bytes::Bytes> = Full::from(body.unwrap_or_default().to_owned());
    let response = client.send_request(request.body(body).expect("a request")).await.expect("an answer");
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (status, allow) = (response.status().as_u16(), header("allow"));
    let kind = header("content-type").unwrap_or_default();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Answer { status, allow, kind, body }
}

async fn service(app: App) -> Service {
    let mut config = Config::default();
    config.http.listen = "127.0.0.1:0".parse().expect("an address");
    config.journal.store = "memory".to_owned();
    let node = Node::start(app, &config).await.expect("a node");
    let contract = ask(&node, "GET", "/openapi.json", None).await;
    assert_eq!((contract.status, contract.kind.as_str()), (200, "application/json"));
    Service { node, contract: contract.body }
}

impl Service {
    /// Checks a value against a schema of the document.
    fn check(&self, schema: &Value, value: &Value) {
        let mut whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": self.contract["components"],
        });
        whole["allOf"] = json!([schema]);
        let validator = jsonschema::validator_for(&whole).expect("a schema");
        let faults: Vec<_> = validator.iter_errors(value).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{value} is not {schema}: {faults:?}");
    }

    fn fits(&self, name: &str, value: &Value) -> bool {
        let whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": self.contract["components"],
            "$ref": format!("#/components/schemas/{name}"),
        });
        jsonschema::validator_for(&whole).expect("a schema").is_valid(value)
    }

    /// Makes a call, and checks what is sent and what comes back against the document.
    async fn call(&self, method: &str, path: &str, template: &str, body: Option<Value>) -> Answer {
        let operation = &self.contract["paths"][template][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {template} is not in the document");
        if let Some(body) = &body {
            self.check(&operation["requestBody"]["content"]["application/json"]["schema"], body);
        }
        self.send(method, path, template, body.map(|body| body.to_string()).as_deref()).await
    }

    /// The same with a body that need not be a command.
    async fn send(&self, method: &str, path: &str, template: &str, body: Option<&str>) -> Answer {
        let operation = &self.contract["paths"][template][method.to_lowercase()];
        let answer = ask(&self.node, method, path, body).await;
        let response = &operation["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{} of {method} {template}: {}", answer.status, answer.body);
        if answer.status != 204 {
            let kind = answer.kind.split(';').next().unwrap_or_default();
            let schema = &response["content"][kind]["schema"];
            assert!(schema.is_object(), "{kind} with {} of {method} {template}", answer.status);
            self.check(schema, &answer.body);
        }
        answer
    }
}

#[tokio::test]
async fn requests_and_answers_of_the_demo_types_are_what_their_schemas_say() {
    let service = service(demo::register(App::default())).await;
    let calls = [
        ("counter", json!({ "type": "increment", "by": 5 }), 200),
        ("counter", json!({ "type": "increment" }), 200),
        ("counter", json!({ "type": "increment", "by": i64::MAX }), 409),
        ("counter", json!({ "type": "get" }), 200),
        ("account", json!({ "type": "deposit", "amount": 7 }), 200),
        ("account", json!({ "type": "withdraw", "amount": 9 }), 409),
        ("account", json!({ "type": "withdraw", "amount": 0 }), 409),
        ("account", json!({ "type": "deposit", "amount": u64::MAX }), 409),
        ("account", json!({ "type": "balance" }), 200),
        ("ledger", json!({ "type": "append", "value": "x" }), 200),
        ("ledger", json!({ "type": "read" }), 200),
    ];
    for (name, command, status) in calls {
        let (path, template) = (format!("/v1/entities/{name}/a"), format!("/v1/entities/{name}/{{id}}"));
        let answer = service.call("POST", &path, &template, Some(command.clone())).await;
        assert_eq!(answer.status, status, "{command}: {}", answer.body);
    }
    for name in ["counter", "account", "ledger"] {
        let of_type = format!("/v1/entities/{name}");
        let (path, template) = (format!("{of_type}/a"), format!("{of_type}/{{id}}"));
        for query in ["", "?at=0", "?at=1"] {
            assert_eq!(service.call("GET", &format!("{path}{query}"), &template, None).await.status, 200);
        }
        for (query, status) in [("?at=9", 400), ("?at=x", 400), ("?a=1", 400)] {
            let answer = service.call("GET", &format!("{path}{query}"), &template, None).await;
            assert_eq!(answer.status, status);
        }
        let events =
            service.call("GET", &format!("{path}/events?limit=1"), &format!("{template}/events"), None).await;
        assert_eq!(events.body["events"].as_array().map(Vec::len), Some(1));
        service.call("GET", &format!("{path}/events?from=0"), &format!("{template}/events"), None).await;
        let ids = service.call("GET", &of_type, &of_type, None).await;
        assert_eq!(ids.body["ids"], json!(["a"]));
        service.call("GET", &format!("{of_type}?after=x"), &of_type, None).await;
        for (body, status) in
            [("{", 400), (r#"{"type":"no"}"#, 422), (r#"{"type":"deposit","amount":"x"}"#, 422)]
        {
            assert_eq!(service.send("POST", &path, &template, Some(body)).await.status, status);
            if let Ok(body) = serde_json::from_str::<Value>(body) {
                assert!(
                    !service.fits(&format!("{name}.command"), &body),
                    "the schema refuses what the type refuses"
                );
            }
        }
    }
    for path in ["/livez", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"] {
        service.call("GET", path, path, None).await;
    }
    service.call("GET", "/healthz?tag=none", "/healthz", None).await;
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(target)) = object.get("$ref") {
                found.insert(target.clone());
            }
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_problem_is_described() {
    let service = service(demo::register(App::default())).await;
    let mut found = BTreeSet::new();
    references(&service.contract, &mut found);
    assert!(found.len() > 50, "{found:?}");
    for target in &found {
        let pointer = target.strip_prefix('#').expect("a reference inside the document");
        assert!(service.contract.pointer(pointer).is_some(), "{target}");
    }
    for kind in abide::http::ProblemKind::ALL {
        let schema = &service.contract["components"]["schemas"][format!("problem.{}", kind.slug())];
        assert_eq!(schema["properties"]["status"]["const"], kind.status().as_u16(), "{kind:?}");
    }
    // A problem is one of its kind only.
    let problem = json!({ "type": "urn:abide:problem:expired", "title": "The deadline passed before the request ran",
        "status": 504, "detail": "d", "outcome": "none" });
    assert!(service.fits("problem.expired", &problem) && !service.fits("problem.timed-out", &problem));
}

#[tokio::test]
async fn the_routes_of_the_document_are_the_routers() {
    let service = service(demo::register(App::default())).await;
    let paths = service.contract["paths"].as_object().expect("paths");
    let mut expected: BTreeSet<String> =
        ["/livez", "/readyz", "/healthz", "/metrics", "/openapi.json", "/docs"].map(str::to_owned).into();
    for name in ["counter", "account", "ledger"] {
        for rest in ["", "/{id}", "/{id}/events"] {
            expected.insert(format!("/v1/entities/{name}{rest}"));
        }
    }
    assert_eq!(paths.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for (path, item) in paths {
        // The router names the methods that it knows to whoever uses another one.
        let refused = ask(&service.node, "BREW", &path.replace("{id}", "x"), None).await;
        assert_eq!(refused.status, 405, "{path}");
        let allowed: BTreeSet<String> = refused
            .allow
            .expect("Allow")
            .split(',')
            .filter(|method| *method != "HEAD")
            .map(str::to_lowercase)
            .collect();
        let documented: BTreeSet<String> = item
            .as_object()
            .expect("operations")
            .keys()
            .filter(|key| *key != "parameters")
            .cloned()
            .collect();
        assert_eq!(allowed, documented, "{path}");
    }
}

#[tokio::test]
async fn a_type_without_schemas_is_any_json_and_says_how_to_get_one() {
    let service = service(App::default().entity::<demo::Counter>()).await;
    let schemas = &service.contract["components"]["schemas"];
    for role in ["command", "reply", "rejection", "event", "state"] {
        assert_eq!(schemas[format!("counter.{role}")]["$ref"], "#/components/schemas/any");
    }
    let words = schemas["any"]["description"].as_str().expect("words");
    assert!(words.contains("options.schemas()"), "{words}");
    let template = "/v1/entities/counter/{id}";
    service.call("POST", "/v1/entities/counter/a", template, Some(json!({ "type": "increment" }))).await;
}

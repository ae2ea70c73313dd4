//! What the running server knows of each operation is what `api-spec/` says of it, read from there without the generator.
use scaicontrol_api::{Level, OPERATIONS};
use scaicontrol_tests::TestApp;
use scaicontrol_tests::spec::DOCUMENT;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The operations of all files of `api-spec/`, by id, with their method and path.
fn specified() -> BTreeMap<String, (String, String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api-spec");
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("api-spec/").flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("a file");
        let file: Value =
            serde_norway::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", entry.path().display()));
        let base = file["servers"][0]["url"].as_str().unwrap_or_default().trim_end_matches('/').to_owned();
        for (path, item) in file["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                if let Some(id) = operation["operationId"].as_str() {
                    let whole =
                        if path.starts_with("/api/") { path.clone() } else { format!("{base}{path}") };
                    all.insert(id.to_owned(), (method.to_uppercase(), whole, operation.clone()));
                }
            }
        }
    }
    all
}

fn level(name: &str) -> Level {
    match name {
        "public" => Level::Public,
        "tenant" => Level::Tenant,
        "tenant_or_service" => Level::TenantOrService,
        "partner" => Level::Partner,
        "platform" => Level::Platform,
        "service" => Level::Service,
        other => panic!("no level {other}"),
    }
}

#[test]
fn level_and_permission_are_those_of_the_specification() {
    let mut built = BTreeSet::new();
    for (id, (method, path, said)) in specified() {
        if said["x-planned"] == true {
            continue;
        }
        let known =
            OPERATIONS.iter().find(|o| o.id == id).unwrap_or_else(|| panic!("{id} is not in the table"));
        assert_eq!(known.method, method, "{id}");
        assert!(
            path.ends_with(known.path) || known.path.ends_with(&path),
            "{id}: {path} is not {}",
            known.path
        );
        assert_eq!(Some(known.permission), said["x-permission"].as_str(), "{id}: permission");
        assert_eq!(known.level, level(said["x-level"].as_str().unwrap_or_default()), "{id}: level");
        assert_eq!(known.idempotent, said["x-idempotent"] == true, "{id}: Idempotency-Key");
        built.insert(id);
    }
    let known: BTreeSet<String> = OPERATIONS.iter().map(|o| o.id.to_owned()).collect();
    assert_eq!(known, built);
}

#[test]
fn every_operation_is_registered_once() {
    let api = scaicontrol_server::server::api();
    let mut registered = api.operation_ids();
    registered.sort_unstable();
    let known: Vec<&str> = OPERATIONS.iter().map(|o| o.id).collect();
    assert_eq!(registered, known);
}

#[tokio::test]
async fn the_server_serves_the_specification() {
    let app = TestApp::start().await;
    let answer = app.call("GET", "/openapi.json").send().await;
    assert_eq!(answer.expect(200), *DOCUMENT);
    for operation in OPERATIONS {
        let served = &answer.json()["paths"][operation.path][operation.method.to_lowercase()];
        assert_eq!(served["operationId"], operation.id);
    }
}

//! The operations that are registered say of themselves what the specification says of them.
use scaicontrol_tests::contract::{differences, normalise};
use scaicontrol_tests::spec::DOCUMENT;
use serde_json::{Value, json};

fn emitted() -> Value {
    scaicontrol_server::server::api().document("ScaiControl").expect("a document")
}

#[test]
fn the_registered_operations_are_those_of_the_specification() {
    let found = differences(&normalise(&DOCUMENT), &normalise(&emitted()));
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

/// The comparison finds nothing in a copy, so what it finds after a change is the change.
fn found_after(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut copy = DOCUMENT.clone();
    change(&mut copy);
    assert_ne!(copy, *DOCUMENT, "the change changes something");
    differences(&normalise(&copy), &normalise(&emitted()))
}

#[test]
fn a_changed_limit_is_found() {
    let found = found_after(|doc| {
        doc["components"]["schemas"]["PlanCreateRequest"]["properties"]["name"]["maxLength"] = json!(201)
    });
    assert!(
        found.iter().any(|d| d.contains("/api/v1/admin/catalog/plans") && d.contains("maxLength")),
        "{found:?}"
    );
}

#[test]
fn a_changed_nullable_is_found() {
    let found = found_after(|doc| {
        doc["components"]["schemas"]["InvoiceResponse"]["properties"]["due_date"]["nullable"] = json!(false);
    });
    assert!(found.iter().any(|d| d.contains("invoice") && d.contains("due_date")), "{found:?}");
}

#[test]
fn a_missing_and_an_additional_operation_are_found() {
    let found = found_after(|doc| {
        let paths = doc["paths"].as_object_mut().expect("paths");
        let taken = paths.remove("/api/v1/billing/invoices").expect("there");
        paths.insert("/api/v1/billing/bills".into(), taken);
    });
    assert!(
        found.iter().any(|d| d.contains("/billing/invoices") && d.contains("not in the specification")),
        "{found:?}"
    );
    assert!(found.iter().any(|d| d.contains("/billing/bills") && d.contains("not registered")), "{found:?}");
}

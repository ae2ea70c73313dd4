//! The table of operations, and the document that the client is made from.
use super::*;

// ---- the table of operations

pub(super) fn operations_table(doc: &Value) -> String {
    let mut out = String::from(
        "//! Every operation that is built: what the front, the authenticator and the tests must know of it.\n\
         use crate::support::{Level, Operation};\n\n",
    );
    let mut all: Vec<_> = operations(doc);
    all.sort_by_key(|(_, _, op)| op["operationId"].as_str().unwrap_or_default().to_string());
    for (path, method, op) in &all {
        let id = op["operationId"].as_str().unwrap_or_default();
        let variables: Vec<String> = path
            .split('/')
            .filter_map(|s| s.strip_prefix('{').and_then(|s| s.strip_suffix('}')))
            .map(|s| format!("{s:?}"))
            .collect();
        let success = op["responses"]
            .as_object()
            .into_iter()
            .flatten()
            .find_map(|(c, _)| c.strip_prefix('2').map(|_| c.clone()))
            .unwrap_or_else(|| "200".into());
        let text = |key: &str| op[key].as_str().unwrap_or_default().to_string();
        let _ = writeln!(
            out,
            "pub static {}: Operation = Operation {{ id: {id:?}, group: {}, method: {:?}, path: {path:?}, level: Level::{}, \
             permission: {:?}, idempotent: {}, audit: {}, max_body_bytes: {}, public_when: {}, path_rest: {}, path_params: &[{}], success: {success} }};",
            id.to_uppercase(),
            op["tags"][0],
            method.to_uppercase(),
            pascal(&text("x-level")),
            text("x-permission"),
            op["x-idempotent"] == true,
            op["x-audit"] == true,
            op["x-max-body-bytes"].as_u64().map_or("DEFAULT_MAX_BODY_BYTES".into(), |n| n.to_string()),
            op.get("x-public-when").map_or("None".to_string(), |w| format!("Some({w})")),
            op["x-path-rest"] == true,
            variables.join(", "),
        );
    }
    let names: Vec<String> = all
        .iter()
        .map(|(_, _, op)| format!("&{}", op["operationId"].as_str().unwrap_or_default().to_uppercase()))
        .collect();
    let _ =
        writeln!(out, "\n/// Sorted by id.\npub static OPERATIONS: &[&Operation] = &[{}];", names.join(", "));
    let _ = writeln!(
        out,
        "\n/// Of a request body, where the operation does not say otherwise.\npub const DEFAULT_MAX_BODY_BYTES: usize = 262_144;"
    );
    out
}

// ---- the document for progenitor

/// Parameters and aliases without limits (progenitor would make a type of each), and without what it cannot send.
pub(super) fn client(doc: &Value, generator: &Value) -> Value {
    let mut out = doc.clone();
    let made = generator["components"]["schemas"].as_object().cloned().unwrap_or_default();
    inline(&mut out, doc, &made);
    for (path, method) in keys(doc) {
        let op = &mut out["paths"][&path][&method];
        let listed: Vec<Value> = op["parameters"].as_array().cloned().unwrap_or_default();
        let plain: Vec<Value> = listed
            .iter()
            .map(|p| {
                let mut p = deref(&out_parameters(doc), p).clone();
                inline(&mut p, doc, &made);
                if let Some(s) = p["schema"].as_object_mut() {
                    s.retain(|k, _| ["type", "format", "$ref"].contains(&k.as_str()));
                }
                p
            })
            .collect();
        let op = &mut out["paths"][&path][&method];
        if !plain.is_empty() {
            op["parameters"] = Value::Array(plain);
        }
        // It takes files whole, as bytes, whatever they are.
        if let Some(responses) = op["responses"].as_object_mut() {
            responses.retain(|code, _| code != "206" && code != "304");
            for content in responses.values_mut().filter_map(|r| r["content"].as_object_mut()) {
                if let Some(file) = content.shift_remove("image/*") {
                    content.insert("application/octet-stream".into(), file);
                }
            }
        }
    }
    if let Some(paths) = out["paths"].as_object_mut() {
        for item in paths.values_mut() {
            if let Some(m) = item.as_object_mut() {
                m.retain(|_, op| op.pointer("/requestBody/content/multipart~1form-data").is_none());
            }
        }
        paths.retain(|_, item| METHODS.iter().any(|m| item.get(m).is_some()));
    }
    if let Some(m) = out["components"].as_object_mut() {
        m.shift_remove("parameters");
    }
    if let Some(m) = out["components"]["schemas"].as_object_mut() {
        m.retain(|name, _| made.contains_key(name) || HANDWRITTEN.contains(&name.as_str()));
    }
    out
}

fn out_parameters(doc: &Value) -> Value {
    json!({ "components": { "parameters": doc["components"]["parameters"] } })
}

/// Writes aliases out where they are used.
fn inline(v: &mut Value, doc: &Value, made: &Map<String, Value>) {
    match v {
        Value::Object(m) => {
            let alias = m
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|r| r.strip_prefix("#/components/schemas/"))
                .filter(|n| !made.contains_key(*n) && !HANDWRITTEN.contains(n))
                .map(|n| doc["components"]["schemas"][n].clone());
            if let Some(mut target) = alias {
                inline(&mut target, doc, made);
                if let Some(t) = target.as_object_mut() {
                    t.retain(|k, _| !["minLength", "maxLength", "pattern"].contains(&k.as_str()));
                }
                *v = target;
                return;
            }
            m.values_mut().for_each(|x| inline(x, doc, made));
        }
        Value::Array(a) => a.iter_mut().for_each(|x| inline(x, doc, made)),
        _ => {}
    }
}

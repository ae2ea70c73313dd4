//! Two OpenAPI documents in one form: the served one, and the one that dropshot makes of the registered operations.
//!
//! Both say the same when the code does what the specification says. They say it differently (dropshot names no aliases,
//! has its own descriptions, sorts by name …), so each operation is brought into a form that both share: references
//! resolved, `allOf` merged, what only one of them has left out. Operation ids, tags, summaries, parameters, bodies and
//! answers with types, formats, limits, patterns and nullability stay, and are compared.
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Every operation by `METHOD path`.
pub fn normalise(doc: &Value) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for (path, item) in doc["paths"].as_object().into_iter().flatten() {
        for method in ["get", "put", "post", "patch", "delete", "head", "options"] {
            if let Some(op) = item.get(method) {
                out.insert(format!("{} {path}", method.to_uppercase()), operation(doc, op));
            }
        }
    }
    out
}

/// Where two documents differ, a line for each place.
pub fn differences(spec: &BTreeMap<String, Value>, served: &BTreeMap<String, Value>) -> Vec<String> {
    let mut out = Vec::new();
    for key in spec.keys().filter(|k| !served.contains_key(*k)) {
        out.push(format!("{key}: not registered"));
    }
    for (key, have) in served {
        match spec.get(key) {
            None => out.push(format!("{key}: not in the specification")),
            Some(want) => compare(key, want, have, &mut out),
        }
    }
    out
}

fn compare(at: &str, spec: &Value, served: &Value, out: &mut Vec<String>) {
    match (spec, served) {
        (Value::Object(a), Value::Object(b)) => {
            for k in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                let (x, y) = (a.get(k).unwrap_or(&Value::Null), b.get(k).unwrap_or(&Value::Null));
                compare(&format!("{at}/{k}"), x, y, out);
            }
        }
        _ if spec != served => out.push(format!("{at}: the specification has {spec}, the code {served}")),
        _ => {}
    }
}

fn operation(doc: &Value, op: &Value) -> Value {
    let mut parameters = Map::new();
    for p in op["parameters"].as_array().into_iter().flatten() {
        let p = deref(doc, p);
        let name = format!("{} {}", text(&p["in"]), text(&p["name"]).to_lowercase());
        parameters.insert(
            name,
            json!({ "required": p["required"] == true, "schema": schema(doc, &p["schema"], 0) }),
        );
    }
    let body = op.get("requestBody").map(|b| {
        let b = deref(doc, b);
        json!({ "required": b["required"] == true, "content": content(doc, b) })
    });
    let responses: Map<String, Value> = op["responses"]
        .as_object()
        .into_iter()
        .flatten()
        // dropshot knows one success: a file in part, and one that the caller has, are the same success to it.
        .filter(|(code, _)| !["206", "304"].contains(&code.as_str()))
        .map(|(code, r)| (code.clone(), content(doc, deref(doc, r))))
        .collect();
    json!({
        "operationId": op["operationId"], "tags": op["tags"], "summary": op["summary"],
        "deprecated": op["deprecated"] == true, "parameters": parameters, "body": body, "responses": responses,
    })
}

/// JSON is compared; of everything else only that there is something: dropshot knows no other media types.
fn content(doc: &Value, holder: &Value) -> Value {
    let types = holder["content"].as_object().into_iter().flatten();
    let all = types.map(|(media, m)| match media.as_str() {
        "application/json" => (media.clone(), schema(doc, &m["schema"], 0)),
        _ => ("other".to_string(), json!(true)),
    });
    all.collect::<Map<_, _>>().into()
}

fn text(v: &Value) -> &str {
    v.as_str().unwrap_or_default()
}

fn deref<'a>(doc: &'a Value, v: &'a Value) -> &'a Value {
    match v.get("$ref").and_then(Value::as_str).and_then(|r| doc.pointer(r.trim_start_matches('#'))) {
        Some(next) => deref(doc, next),
        None => v,
    }
}

/// Prose, and what dropshot has no word for.
const DROP: [&str; 9] = [
    "description",
    "example",
    "title",
    "discriminator",
    "default",
    "deprecated",
    "minProperties",
    "maxProperties",
    "uniqueItems",
];

fn schema(doc: &Value, v: &Value, depth: usize) -> Value {
    if depth > 12 {
        return json!("…"); // a type that contains itself
    }
    let v = deref(doc, v);
    let Some(map) = v.as_object() else { return v.clone() };
    let mut out = Map::new();
    for (k, x) in map {
        match k.as_str() {
            k if DROP.contains(&k) || k.starts_with("x-") => {}
            "properties" => {
                let all: Map<_, _> = x
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(n, s)| (n.clone(), schema(doc, s, depth + 1)))
                    .collect();
                merge(&mut out, "properties", all.into());
            }
            "required" => merge(&mut out, "required", sorted(x)),
            // the order of an enum says nothing
            "enum" => merge(&mut out, "enum", sorted(x)),
            "items" => merge(&mut out, k, schema(doc, x, depth + 1)),
            "additionalProperties" => {
                let x = if x.is_object() { schema(doc, x, depth + 1) } else { x.clone() };
                merge(&mut out, k, x);
            }
            "allOf" => {
                for s in x.as_array().into_iter().flatten() {
                    if let Value::Object(m) = schema(doc, s, depth) {
                        m.into_iter().for_each(|(k, v)| merge(&mut out, &k, v));
                    }
                }
            }
            "oneOf" | "anyOf" => {
                let all = x.as_array().into_iter().flatten().map(|s| schema(doc, s, depth + 1)).collect();
                merge(&mut out, "oneOf", sorted(&Value::Array(all)));
            }
            // texts: dropshot does not say it of a plain String
            "format" if ["byte", "binary", "password"].contains(&text(x)) => {}
            "nullable" if x == &json!(false) => {}
            // numbers alike, whether written as 1 or 1.0
            "minimum" | "maximum" => merge(&mut out, k, x.as_f64().map_or(Value::Null, |n| json!(n))),
            _ => merge(&mut out, k, x.clone()),
        }
    }
    // a text that is a date, a time or an id has no length of its own in Rust
    if ["date", "date-time", "uuid"].contains(&text(&out.get("format").cloned().unwrap_or_default())) {
        for k in ["minLength", "maxLength", "pattern"] {
            out.remove(k);
        }
    }
    // a free object is one without fields, whether it says so or not
    if out.get("type") == Some(&json!("object")) && out.get("additionalProperties") == Some(&json!({})) {
        out.insert("additionalProperties".into(), json!(true));
    }
    out.into()
}

fn sorted(v: &Value) -> Value {
    let mut all = v.as_array().cloned().unwrap_or_default();
    all.sort_by_key(Value::to_string);
    all.dedup();
    all.into()
}

fn merge(out: &mut Map<String, Value>, k: &str, v: Value) {
    match (out.get_mut(k), v) {
        (Some(Value::Object(a)), Value::Object(b)) => a.extend(b),
        (Some(Value::Array(a)), Value::Array(b)) => {
            a.extend(b);
            a.sort_by_key(Value::to_string);
            a.dedup();
        }
        (_, v) => {
            out.insert(k.to_string(), v);
        }
    }
}

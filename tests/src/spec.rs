//! The served document as a judge of answers.
//!
//! It is stricter than a validator of JSON schemas: a field that the document does not name is a problem too.
use scaicontrol_api::{OPERATIONS, Operation};
use serde_json::Value;
use std::sync::LazyLock;

/// `/openapi.json`, as it is committed.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../generated/openapi.json"))
        .expect("generated/openapi.json is JSON")
});

/// The operation of that id.
pub fn operation(id: &str) -> &'static Operation {
    OPERATIONS.iter().find(|o| o.id == id).unwrap_or_else(|| panic!("no operation {id}"))
}

/// The operation that answers a request, if one does.
pub fn find(method: &str, path: &str) -> Option<&'static Operation> {
    let method = if method == "HEAD" { "GET" } else { method };
    let path = path.split('?').next().unwrap_or_default();
    // A literal segment goes before a variable.
    let candidates = OPERATIONS.iter().filter(|o| o.method == method && is_path_of(o.path, path));
    candidates.min_by_key(|o| o.path_params.len()).copied()
}

fn is_path_of(template: &str, path: &str) -> bool {
    let (mut given, mut wanted) = (path.split('/'), template.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(w), Some(g)) if w == g || (w.starts_with('{') && !g.is_empty()) => {}
            _ => return false,
        }
    }
}

/// The part of the document about an operation.
pub fn described(operation: &Operation) -> &'static Value {
    let described = &DOCUMENT["paths"][operation.path][operation.method.to_lowercase()];
    assert!(described.is_object(), "{} is not in the document", operation.id);
    described
}

/// A request body that the document allows: what is required (one field where nothing is), with the values of its
/// examples; none for operations that take no JSON.
pub fn sample_body(operation: &Operation) -> Option<Value> {
    let schema = described(operation)["requestBody"]["content"]["application/json"].get("schema")?;
    Some(sample(schema))
}

/// Whether the JSON body of an operation has that field.
pub fn takes_field(operation: &Operation, field: &str) -> bool {
    let schema = &described(operation)["requestBody"]["content"]["application/json"]["schema"];
    resolve(schema)["properties"].get(field).is_some()
}

/// The names of an operation's query parameters.
pub fn query_parameters(operation: &Operation) -> Vec<&'static str> {
    let all = described(operation)["parameters"].as_array().into_iter().flatten().map(resolve);
    all.filter(|p| p["in"] == "query").filter_map(|p| p["name"].as_str()).collect()
}

/// The query of an operation with an example of each parameter that it cannot do without; empty when there is none.
pub fn required_query(operation: &Operation) -> String {
    let all = described(operation)["parameters"].as_array().into_iter().flatten().map(resolve);
    let required = all.filter(|p| p["in"] == "query" && p["required"] == true);
    let pairs: Vec<String> = required
        .map(|p| match (&p["name"], &p["example"]) {
            (Value::String(name), Value::String(example)) => format!("{name}={example}"),
            (name, example) => format!("{}={example}", name.as_str().unwrap_or_default()),
        })
        .collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

fn sample(schema: &'static Value) -> Value {
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    let schema = resolve(schema);
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|e| e.first()) {
        return first.clone();
    }
    if let Some(part) = schema["allOf"].as_array().and_then(|a| a.first()) {
        return sample(part);
    }
    match schema["type"].as_str() {
        Some("array") => Value::Array(vec![sample(&schema["items"])]),
        Some("object") => {
            let all = schema["properties"].as_object();
            let required: Vec<&str> =
                schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let is_wanted =
                |i: usize, name: &str| required.contains(&name) || (required.is_empty() && i == 0);
            let wanted = all
                .into_iter()
                .flatten()
                .enumerate()
                .filter(|(i, (name, _))| is_wanted(*i, name))
                .map(|(_, f)| f);
            Value::Object(wanted.map(|(name, field)| (name.clone(), sample(field))).collect())
        }
        Some("string") => match schema["format"].as_str() {
            Some("uuid") => "0192f0c4-6b02-7d51-8a44-2f7f0b1c9e20".into(),
            Some("date") => "2026-03-01".into(),
            Some("date-time") => "2026-03-01T00:00:00Z".into(),
            _ => "text".into(),
        },
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        Some("boolean") => false.into(),
        _ => Value::Null,
    }
}

/// What is wrong with an answer of an operation; nothing when it is as documented.
pub fn problems(
    operation: &Operation,
    status: u16,
    media_type: Option<&str>,
    body: Option<&Value>,
) -> Vec<String> {
    let responses = &described(operation)["responses"];
    let class = format!("{}XX", status / 100);
    let Some(response) = responses.get(status.to_string()).or_else(|| responses.get(&class)).map(resolve)
    else {
        return vec![format!("{}: {status} is not documented", operation.id)];
    };
    let content = response["content"].as_object();
    let media = match (content, media_type) {
        (None, None) => return Vec::new(),
        (None, Some(m)) => {
            return vec![format!("{}: {status} is documented without a body, and has {m}", operation.id)];
        }
        (Some(c), m) => {
            let m = m.unwrap_or("nothing");
            match c
                .get(m)
                .or_else(|| c.get(&format!("{}/*", m.split('/').next().unwrap_or_default())))
                .or_else(|| c.get("*/*"))
            {
                Some(media) => media,
                None => return vec![format!("{}: {status} with {m} is not documented", operation.id)],
            }
        }
    };
    match (body, media.get("schema")) {
        (Some(body), Some(schema)) => {
            let mut out = Vec::new();
            check(schema, body, "", &mut out);
            out.iter().map(|p| format!("{}: {status}: {p}", operation.id)).collect()
        }
        _ => Vec::new(),
    }
}

/// What is wrong with a value by a schema of `components`.
pub fn problems_of(schema: &str, value: &Value) -> Vec<String> {
    let mut out = Vec::new();
    check(&DOCUMENT["components"]["schemas"][schema], value, "", &mut out);
    out
}

/// What a reference leads to, or the thing itself.
pub fn resolve(v: &'static Value) -> &'static Value {
    match v["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.trim_start_matches('#');
            resolve(DOCUMENT.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
        None => v,
    }
}

fn check(schema: &'static Value, value: &Value, at: &str, out: &mut Vec<String>) {
    let schema = resolve(schema);
    if value.is_null() {
        if !takes_null(schema) {
            out.push(format!("{at}: null"));
        }
        return;
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(part, value, at, out);
    }
    if let Some(parts) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
        let fits = |part: &'static Value| {
            let mut problems = Vec::new();
            check(part, value, at, &mut problems);
            problems.is_empty()
        };
        if !parts.iter().any(fits) {
            out.push(format!("{at}: fits none of the alternatives: {value}"));
        }
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        out.push(format!("{at}: {value} is not one of {allowed:?}"));
    }
    match schema["type"].as_str() {
        Some("object") => object(schema, value, at, out),
        Some("array") => array(schema, value, at, out),
        Some("string") => string(schema, value, at, out),
        Some("integer") if value.is_i64() || value.is_u64() => number(schema, value, at, out),
        Some("number") if value.is_number() => number(schema, value, at, out),
        Some("boolean") if value.is_boolean() => {}
        None => {}
        Some(wanted) => out.push(format!("{at}: {value} is no {wanted}")),
    }
}

fn takes_null(schema: &'static Value) -> bool {
    let free = schema
        .as_object()
        .is_some_and(|s| !["type", "allOf", "oneOf", "anyOf"].iter().any(|k| s.contains_key(*k)));
    schema["nullable"] == true || free
}

fn object(schema: &'static Value, value: &Value, at: &str, out: &mut Vec<String>) {
    let Some(fields) = value.as_object() else {
        out.push(format!("{at}: {value} is no object"));
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            out.push(format!("{at}/{name}: is missing"));
        }
    }
    let more = &schema["additionalProperties"];
    for (name, field) in fields {
        let at = format!("{at}/{name}");
        match schema["properties"].get(name) {
            Some(known) => check(known, field, &at, out),
            None if more.is_object() => check(more, field, &at, out),
            None if more == true => {}
            None => out.push(format!("{at}: is not documented")),
        }
    }
    count(schema, "Properties", fields.len() as u64, at, out);
}

fn array(schema: &'static Value, value: &Value, at: &str, out: &mut Vec<String>) {
    let Some(items) = value.as_array() else {
        out.push(format!("{at}: {value} is no array"));
        return;
    };
    count(schema, "Items", items.len() as u64, at, out);
    for (i, item) in items.iter().enumerate() {
        check(&schema["items"], item, &format!("{at}/{i}"), out);
    }
}

fn string(schema: &'static Value, value: &Value, at: &str, out: &mut Vec<String>) {
    let Some(text) = value.as_str() else {
        out.push(format!("{at}: {value} is no string"));
        return;
    };
    count(schema, "Length", text.chars().count() as u64, at, out);
    if let Some(pattern) = schema["pattern"].as_str()
        && !regex::Regex::new(pattern).expect("a pattern").is_match(text)
    {
        out.push(format!("{at}: {text:?} does not match {pattern}"));
    }
    let fits = match schema["format"].as_str() {
        Some("uuid") => text.parse::<uuid::Uuid>().is_ok(),
        Some("date") => text.parse::<chrono::NaiveDate>().is_ok(),
        Some("date-time") => chrono::DateTime::parse_from_rfc3339(text).is_ok() && text.ends_with('Z'),
        _ => true,
    };
    if !fits {
        out.push(format!("{at}: {text:?} is no {}", schema["format"]));
    }
}

fn number(schema: &'static Value, value: &Value, at: &str, out: &mut Vec<String>) {
    let is = value.as_f64().unwrap_or(f64::NAN);
    if schema["minimum"].as_f64().is_some_and(|m| is < m)
        || schema["maximum"].as_f64().is_some_and(|m| is > m)
    {
        out.push(format!("{at}: {value} is out of bounds"));
    }
}

fn count(schema: &'static Value, what: &str, is: u64, at: &str, out: &mut Vec<String>) {
    let bound = |name: String| schema[name.as_str()].as_u64();
    if bound(format!("min{what}")).is_some_and(|m| is < m)
        || bound(format!("max{what}")).is_some_and(|m| is > m)
    {
        out.push(format!("{at}: {is} {what} are too few or too many"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn literal_segments_go_before_variables() {
        assert_eq!(find("GET", "/api/v1/admin/partners/prt_1?x=1").map(|o| o.id), Some("admin_partner_get"));
        assert_eq!(find("HEAD", "/health").map(|o| o.id), Some("health_get"));
        assert_eq!(find("GET", "/api/v1/admin/partners/").map(|o| o.id), None);
        assert_eq!(find("DELETE", "/health").map(|o| o.id), None);
    }

    #[test]
    fn an_answer_that_is_not_documented_is_found() {
        let good = json!({"error": {"code": "not_found", "message": "m", "request_id": "req_018f6f2e9c1b7a448d2e3f1b6a7c9d10"}});
        let op = operation("invoice_get");
        let json = Some("application/json");
        assert_eq!(problems(op, 404, json, Some(&good)), Vec::<String>::new());
        assert_eq!(problems(op, 302, json, Some(&good)).len(), 1, "status");
        assert_eq!(problems(op, 404, Some("text/html"), None).len(), 1, "media type");
        let mut changed = good.clone();
        changed["error"]["code"] = json!("no_such_code");
        assert_eq!(problems(op, 404, json, Some(&changed)).len(), 1, "enum");
        let mut changed = good.clone();
        changed["error"]["inner"] = json!("secret");
        assert_eq!(problems(op, 404, json, Some(&changed)).len(), 1, "a field more");
        let mut changed = good.clone();
        changed["error"].as_object_mut().expect("object").remove("message");
        assert_eq!(problems(op, 404, json, Some(&changed)).len(), 1, "a field less");
        let mut changed = good;
        changed["error"]["message"] = json!(null);
        assert_eq!(problems(op, 404, json, Some(&changed)).len(), 1, "null");
    }
}

//! Rules that `api-spec/` keeps, so that every generator makes good code of it.
//!
//! Some are constructs that openapi-generator, dropshot or progenitor cannot do (several successes, inline objects,
//! `anyOf`, array parameters …), some are what this project wants of its contract (limits on every field, closed
//! requests, a permission on every operation). All problems are collected, each with its file and place.
use crate::bundle::{Bundle, deref, operations, reach};
use regex::Regex;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

mod names;
use names::*;

pub fn lint(bundle: &Bundle) -> Vec<String> {
    let mut l = Lint { b: bundle, problems: bundle.problems.clone(), ids: BTreeMap::new() };
    for (path, method, op) in operations(&bundle.doc) {
        l.operation(path, method, op);
    }
    for (i, tag) in bundle.doc["tags"].as_array().into_iter().flatten().enumerate() {
        if !tag.as_object().is_some_and(|m| m.keys().eq(["name", "description"])) {
            l.say(
                &format!("openapi.yaml: tags[{i}]"),
                "name and description, nothing else (is a comma not quoted?)",
            );
        }
    }
    l.places();
    for kind in ["parameters", "responses", "schemas"] {
        for (name, v) in bundle.doc["components"][kind].as_object().into_iter().flatten() {
            let file = &bundle.component_file[&format!("{kind}/{name}")];
            let at = format!("{file}.yaml: components.{kind}.{name}");
            match kind {
                "parameters" => l.parameter(&at, v),
                "schemas" => l.named_schema(&at, name, v),
                _ => {}
            }
        }
    }
    l.directions();
    l.problems.sort();
    l.problems.dedup();
    l.problems
}

struct Lint<'a> {
    b: &'a Bundle,
    problems: Vec<String>,
    ids: BTreeMap<String, String>,
}

fn re(cell: &'static std::sync::OnceLock<Regex>, pattern: &str) -> &'static Regex {
    #[allow(clippy::expect_used, reason = "the patterns are literals of this file")]
    cell.get_or_init(|| Regex::new(pattern).expect("a pattern"))
}
macro_rules! matches {
    ($pattern:literal, $text:expr) => {{
        static CELL: std::sync::OnceLock<Regex> = std::sync::OnceLock::new();
        re(&CELL, $pattern).is_match($text)
    }};
}

mod answers;

fn text<'v>(v: &'v Value, key: &str) -> &'v str {
    v.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Where a schema stands: what it must say of itself depends on it.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Named,
    Property,
    Item,
    Parameter,
}

impl Lint<'_> {
    fn say(&mut self, at: &str, what: impl std::fmt::Display) {
        self.problems.push(format!("{at}: {what}"));
    }

    fn keys(&mut self, at: &str, m: &Map<String, Value>, allowed: &[&str]) {
        for k in m.keys() {
            if !allowed.contains(&k.as_str()) {
                self.say(at, format!("`{k}` is not allowed here"));
            }
        }
    }

    // ---- operations

    fn operation(&mut self, path: &str, method: &str, op: &Value) {
        let file = self.b.operation_file[&format!("{path} {method}")].clone();
        let at = format!("{file}.yaml: paths.{path}.{method}");
        let Some(m) = op.as_object() else { return self.say(&at, "not a map") };
        self.keys(
            &at,
            m,
            &[
                "tags",
                "operationId",
                "summary",
                "description",
                "deprecated",
                "parameters",
                "requestBody",
                "responses",
                "security",
                "x-level",
                "x-permission",
                "x-idempotent",
                "x-audit",
                "x-planned",
                "x-max-body-bytes",
                "x-public-when",
                "x-path-rest",
            ],
        );
        if !["get", "put", "post", "patch", "delete"].contains(&method) {
            self.say(&at, "only get, put, post, patch and delete");
        }
        let base = path.starts_with("/api/v1/") || ["/health", "/metrics"].contains(&path);
        if !base || path.ends_with('/') || path.contains("//") {
            self.say(&at, "the path must start with /api/v1/ and have no empty segment");
        }
        // who and what it is
        match op["tags"].as_array().map(Vec::as_slice) {
            Some([Value::String(tag)]) if *tag == file => {}
            Some([tag]) => self.say(&at, format!("tag {tag} must be the name of the file, {file}")),
            _ => self.say(&at, "exactly one tag"),
        }
        self.operation_id(&at, &file, op);
        let summary = text(op, "summary");
        if summary.is_empty() || summary.chars().count() > 60 || summary.ends_with('.') {
            self.say(&at, "summary: 1 to 60 characters without a full stop at the end");
        }
        if text(op, "description").is_empty() {
            self.say(&at, "description is missing");
        }
        self.access(&at, op);
        self.flags(&at, method, op);
        self.parameters(&at, path, op);
        self.body(&at, method, op);
        self.responses(&at, op);
    }

    fn operation_id(&mut self, at: &str, file: &str, op: &Value) {
        let id = text(op, "operationId");
        if !matches!("^[a-z][a-z0-9]*(_[a-z0-9]+)+$", id) {
            self.say(at, format!("operationId `{id}` must be noun_verb in snake case"));
        }
        if KEYWORDS.split_whitespace().any(|k| k == id) {
            self.say(at, format!("operationId `{id}` is a keyword of Rust"));
        }
        if file.starts_with("admin") && !id.starts_with("admin_") {
            self.say(at, format!("operationId `{id}` must start with admin_"));
        }
        if let Some(other) = self.ids.insert(id.to_string(), at.to_string()) {
            self.say(at, format!("operationId `{id}` stands at {other} too"));
        }
    }

    fn access(&mut self, at: &str, op: &Value) {
        let (level, permission) = (text(op, "x-level"), text(op, "x-permission"));
        if !LEVELS.contains(&level) {
            self.say(at, format!("x-level `{level}` must be one of {}", LEVELS.join(", ")));
        }
        if !SCOPES.contains(&permission) && !["any", "any_admin", "none"].contains(&permission) {
            self.say(
                at,
                format!("x-permission `{permission}` must be any, any_admin, none or one of the 16 scopes"),
            );
        }
        let public = level == "public";
        if public != (permission == "none") {
            self.say(at, "x-level public and x-permission none belong together");
        }
        match op.get("security") {
            None if public => self.say(at, "a public operation says `security: []`"),
            Some(s) if !public || s.as_array().is_none_or(|a| !a.is_empty()) => {
                self.say(at, "security: only public operations have it, and it is []");
            }
            _ => {}
        }
        if let Some(when) = op.get("x-public-when")
            && (public || !matches!("^[a-z_]+([.][a-z_]+)+$", when.as_str().unwrap_or_default()))
        {
            self.say(at, "x-public-when names a setting, on an operation that is not public");
        }
    }

    fn flags(&mut self, at: &str, method: &str, op: &Value) {
        for key in ["x-idempotent", "x-audit"] {
            if !op.get(key).is_some_and(Value::is_boolean) {
                self.say(at, format!("{key} must be true or false"));
            }
        }
        if op.get("x-path-rest").is_some_and(|v| v != true || method != "get" || op["x-level"] != "public") {
            self.say(at, "x-path-rest is true or absent, and for public reads alone");
        }
        if op["x-idempotent"] == true && op["x-level"] == "public" {
            self.say(at, "x-idempotent: a key belongs to a caller, and a public operation has none");
        }
        if op["x-idempotent"] == true && method != "post" {
            self.say(at, "x-idempotent: only a POST needs a key");
        }
        if op.get("x-planned").is_some_and(|v| v != true) {
            self.say(at, "x-planned is true or absent");
        }
        if op
            .get("x-max-body-bytes")
            .is_some_and(|v| !v.as_u64().is_some_and(|n| (1..=67_108_864).contains(&n)))
        {
            self.say(at, "x-max-body-bytes: 1 to 67108864");
        }
    }

    fn parameters(&mut self, at: &str, path: &str, op: &Value) {
        let listed = op["parameters"].as_array().cloned().unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut in_path = BTreeSet::new();
        let mut idempotency = false;
        for (i, p) in listed.iter().enumerate() {
            let at = format!("{at}.parameters[{i}]");
            if p.get("$ref").is_none() {
                self.parameter(&at, p);
            } else if p.as_object().is_some_and(|m| m.len() > 1) {
                self.say(&at, "nothing beside $ref");
            }
            let p = deref(&self.b.doc, p);
            let (name, place) = (text(p, "name").to_string(), text(p, "in"));
            if !seen.insert((name.clone(), place.to_string())) {
                self.say(&at, format!("parameter {name} twice"));
            }
            idempotency |= name.eq_ignore_ascii_case("idempotency-key");
            if place == "path" {
                in_path.insert(name);
            }
        }
        let mut wanted = BTreeSet::new();
        for segment in path.split('/') {
            if let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                if !wanted.insert(name.to_string()) {
                    self.say(at, format!("{{{name}}} twice in the path"));
                }
            } else if segment.contains(['{', '}']) {
                self.say(at, format!("`{segment}`: a variable must be a whole segment"));
            }
        }
        for name in wanted.difference(&in_path) {
            self.say(at, format!("path parameter {name} is not declared"));
        }
        for name in in_path.difference(&wanted) {
            self.say(at, format!("path parameter {name} is not in the path"));
        }
        if idempotency != (op["x-idempotent"] == true) {
            self.say(at, "x-idempotent: true and the parameter Idempotency-Key belong together");
        }
    }

    fn parameter(&mut self, at: &str, p: &Value) {
        let Some(m) = p.as_object() else { return self.say(at, "not a map") };
        self.keys(at, m, &["name", "in", "description", "required", "example", "schema", "deprecated"]);
        let (name, place) = (text(p, "name"), text(p, "in"));
        match place {
            "path" if p["required"] != true => self.say(at, "a path parameter is required: true"),
            "path" | "query" if !matches!("^[a-z][a-z0-9_]*$", name) => {
                self.say(at, format!("name `{name}` must be snake case"));
            }
            "path" | "query" => {}
            "header" if !matches!("^[A-Za-z][A-Za-z0-9-]*$", name) => self.say(at, format!("name `{name}`")),
            "header" => {}
            _ => self.say(at, format!("in: `{place}` must be path, query or header")),
        }
        if text(p, "description").is_empty() {
            self.say(at, "description is missing");
        }
        let schema = &p["schema"];
        if schema.is_null() {
            return self.say(at, "schema is missing");
        }
        let target = deref(&self.b.doc, schema);
        if p.get("example").is_none() && target.get("example").is_none() {
            self.say(at, "example is missing");
        }
        if schema.get("$ref").is_none() {
            self.schema(&format!("{at}.schema"), schema, Place::Parameter);
        } else if schema.as_object().is_some_and(|m| m.len() > 1) {
            self.say(at, "nothing beside $ref");
        }
        if !["string", "integer", "boolean"].contains(&text(target, "type")) {
            self.say(at, "a parameter is a string, an integer or a boolean");
        }
        if schema.get("default").is_some_and(|d| !d.is_boolean() && !d.is_i64()) {
            self.say(at, "only integers and booleans have a default");
        }
        if p["required"] == true && schema.get("default").is_some() {
            self.say(at, "required and default exclude each other");
        }
        if schema["nullable"] == true {
            self.say(at, "a parameter is not nullable");
        }
    }

    fn body(&mut self, at: &str, method: &str, op: &Value) {
        let Some(body) = op.get("requestBody") else { return };
        let at = format!("{at}.requestBody");
        if method == "get" {
            self.say(&at, "a GET has no body");
        }
        let Some(m) = body.as_object() else { return self.say(&at, "not a map") };
        self.keys(&at, m, &["description", "required", "content"]);
        if body["required"] != true {
            self.say(&at, "required: true");
        }
        let content = body["content"].as_object().cloned().unwrap_or_default();
        if content.len() != 1 {
            return self.say(&at, "exactly one media type");
        }
        for (media, c) in &content {
            let at = format!("{at}.content.{media}");
            if let Some(m) = c.as_object() {
                self.keys(&at, m, &["schema"]);
            }
            let schema = &c["schema"];
            match media.as_str() {
                "application/json" => self.only_ref(&at, schema),
                "multipart/form-data" => {
                    self.only_ref(&at, schema);
                    let target = deref(&self.b.doc, schema);
                    let binary = target["properties"].as_object().is_some_and(|m| {
                        m.values().any(|p| p["type"] == "string" && p["format"] == "binary")
                    });
                    if !binary {
                        self.say(&at, "needs a property of type string, format binary");
                    }
                }
                "application/octet-stream" => self.binary(&at, schema),
                _ => self.say(&at, "application/json, multipart/form-data or application/octet-stream only"),
            }
        }
    }

    fn only_ref(&mut self, at: &str, schema: &Value) {
        if schema.get("$ref").is_none() || schema.as_object().is_some_and(|m| m.len() > 1) {
            self.say(at, "schema must be a bare $ref to a named schema");
        }
    }

    fn binary(&mut self, at: &str, schema: &Value) {
        if schema["type"] != "string" || schema["format"] != "binary" {
            self.say(at, "schema must be {type: string, format: binary}");
        }
    }

    /// One place in the tree of paths has one variable name.
    fn places(&mut self) {
        let mut names: BTreeMap<String, (String, String)> = BTreeMap::new();
        let mut forms: BTreeMap<String, String> = BTreeMap::new();
        for path in self.b.doc["paths"].as_object().into_iter().flat_map(|m| m.keys()) {
            let mut prefix = String::new();
            for segment in path.split('/').skip(1) {
                if segment.starts_with('{') {
                    let first = names.entry(prefix.clone()).or_insert((segment.to_string(), path.clone()));
                    if first.0 != segment {
                        let other = first.clone();
                        self.problems.push(format!(
                            "paths.{path}: {segment} stands where {} has {}: one name for one place",
                            other.1, other.0
                        ));
                    }
                    prefix.push_str("/{}");
                } else {
                    prefix.push('/');
                    prefix.push_str(segment);
                }
            }
            if let Some(other) = forms.insert(prefix, path.clone()) {
                self.problems.push(format!("paths.{path}: the same place as {other}"));
            }
        }
    }

    // ---- schemas

    fn named_schema(&mut self, at: &str, name: &str, v: &Value) {
        if !matches!("^[A-Z][A-Za-z0-9]*$", name) {
            self.say(at, "the name must be PascalCase");
        }
        self.schema(at, v, Place::Named);
    }

    fn schema(&mut self, at: &str, v: &Value, place: Place) {
        let Some(m) = v.as_object() else { return self.say(at, "not a map") };
        if m.contains_key("$ref") {
            match place {
                Place::Item if m.len() == 1 => {}
                Place::Item => self.say(at, "nothing beside $ref"),
                _ => self.say(at, "a $ref here is written `allOf: [{$ref: …}]` beside a description"),
            }
            return;
        }
        for bad in [
            "anyOf",
            "not",
            "title",
            "readOnly",
            "writeOnly",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
            "xml",
        ] {
            if m.contains_key(bad) {
                self.say(at, format!("`{bad}` is not allowed"));
            }
        }
        if m.contains_key("default") && place != Place::Parameter {
            self.say(at, "no `default` in bodies: say it in words");
        }
        if place != Place::Item && place != Place::Parameter && text(v, "description").is_empty() {
            self.say(at, "description is missing");
        }
        for (k, x) in m {
            if k.starts_with("x-") {
                let fine = match k.as_str() {
                    "x-secret" => place == Place::Property && x == true,
                    // the topic of the event
                    "x-event" => {
                        place == Place::Named
                            && matches!("^[a-z_]+([.][a-z_]+)*$", x.as_str().unwrap_or_default())
                    }
                    _ => false,
                };
                if !fine {
                    self.say(at, format!("`{k}: {x}` is not allowed here"));
                }
            }
        }
        if m.contains_key("allOf") {
            return self.all_of(at, m, place);
        }
        if m.contains_key("oneOf") {
            return self.one_of(at, m, place);
        }
        let common =
            ["type", "description", "example", "nullable", "deprecated", "x-secret", "x-event", "default"];
        let mut allow = |extra: &[&str]| {
            let allowed: Vec<&str> = common.iter().chain(extra).copied().collect();
            self.keys(at, m, &allowed);
        };
        match text(v, "type") {
            "string" => {
                allow(&["format", "enum", "minLength", "maxLength", "pattern"]);
                self.string(at, v, place);
            }
            "integer" => {
                allow(&["format", "minimum", "maximum"]);
                self.integer(at, v);
            }
            "boolean" => allow(&[]),
            "array" => {
                allow(&["items", "minItems", "maxItems"]);
                self.array(at, v, place);
            }
            "object" => {
                allow(&["properties", "required", "additionalProperties", "minProperties", "maxProperties"]);
                self.object(at, v, place);
            }
            "number" => self.say(at, "type number: decimals are strings (Decimal), the rest integers"),
            other => self.say(at, format!("type `{other}`")),
        }
        let scalar = ["string", "integer", "boolean"].contains(&text(v, "type"));
        if scalar && place == Place::Property && v.get("example").is_none() && v["format"] != "binary" {
            self.say(at, "example is missing");
        }
        if scalar && place == Place::Named && v.get("example").is_none() {
            self.say(at, "example is missing");
        }
    }

    fn all_of(&mut self, at: &str, m: &Map<String, Value>, place: Place) {
        self.keys(at, m, &["allOf", "description", "nullable", "example", "deprecated", "x-secret"]);
        if place != Place::Property {
            self.say(at, "allOf stands on properties only; schemas list their fields");
        }
        match m["allOf"].as_array().map(Vec::as_slice) {
            Some([one]) if one.get("$ref").is_some() && one.as_object().is_some_and(|m| m.len() == 1) => {}
            _ => self.say(at, "allOf has one member, a bare $ref"),
        }
    }

    fn one_of(&mut self, at: &str, m: &Map<String, Value>, place: Place) {
        self.keys(at, m, &["oneOf", "discriminator", "description", "example"]);
        if place != Place::Named {
            self.say(at, "oneOf: only as a named schema");
        }
        let tag = m.get("discriminator").map(|d| text(d, "propertyName").to_string()).unwrap_or_default();
        let mapping = m.get("discriminator").and_then(|d| d["mapping"].as_object()).map_or(0, Map::len);
        if tag.is_empty() || mapping == 0 {
            self.say(at, "oneOf needs a discriminator with a mapping");
        }
        for (i, one) in m["oneOf"].as_array().into_iter().flatten().enumerate() {
            if one.get("$ref").is_none() {
                self.say(&format!("{at}.oneOf[{i}]"), "must be a $ref");
            } else if deref(&self.b.doc, one)["properties"].get(&tag).is_none() {
                self.say(&format!("{at}.oneOf[{i}]"), format!("has no property {tag}"));
            }
        }
    }

    fn string(&mut self, at: &str, v: &Value, place: Place) {
        if let Some(values) = v.get("enum") {
            if place != Place::Named {
                self.say(at, "an enum must be a named schema");
            }
            let values = values.as_array().cloned().unwrap_or_default();
            let mut seen = BTreeSet::new();
            for x in &values {
                match x.as_str() {
                    Some(s)
                        if matches!("^[A-Za-z0-9][A-Za-z0-9_.:/-]*$", s) && seen.insert(s.to_lowercase()) => {
                    }
                    _ => self
                        .say(at, format!("enum value {x}: a string, once, of letters, digits and _ . : / -")),
                }
            }
            if values.is_empty() {
                self.say(at, "an enum has values");
            }
            return;
        }
        let format = text(v, "format");
        if !["", "date-time", "date", "uuid", "byte", "binary", "uri", "email", "decimal"].contains(&format) {
            self.say(at, format!("format `{format}` is not known"));
        }
        if ["", "uri", "email", "decimal"].contains(&format) && v["maxLength"].as_u64().is_none() {
            self.say(at, "maxLength is missing");
        }
        if let (Some(a), Some(b)) = (v["minLength"].as_u64(), v["maxLength"].as_u64())
            && a > b
        {
            self.say(at, "minLength is above maxLength");
        }
        if let Some(p) = v.get("pattern").and_then(Value::as_str) {
            match Regex::new(p) {
                Err(e) => self.say(at, format!("pattern: {e}")),
                Ok(_) if !p.starts_with('^') => self.say(at, "pattern must start with ^"),
                Ok(r) => {
                    if let Some(e) = v.get("example").and_then(Value::as_str)
                        && !r.is_match(e)
                    {
                        self.say(at, format!("example `{e}` does not match the pattern"));
                    }
                }
            }
        }
        if let Some(e) = v.get("example") {
            let length = e.as_str().map(|s| s.chars().count() as u64);
            match length {
                None if e.is_null() && v["nullable"] == true => {}
                None => self.say(at, format!("example {e} is not a string: quote it")),
                Some(n) if v["maxLength"].as_u64().is_some_and(|m| n > m) => {
                    self.say(at, "example is too long")
                }
                Some(n) if v["minLength"].as_u64().is_some_and(|m| n < m) => {
                    self.say(at, "example is too short")
                }
                _ => {}
            }
        }
    }

    fn integer(&mut self, at: &str, v: &Value) {
        let (low, high) = (v["minimum"].as_i64(), v["maximum"].as_i64());
        let (Some(low), Some(high)) = (low, high) else {
            return self.say(at, "minimum and maximum are missing");
        };
        if low > high {
            self.say(at, "minimum is above maximum");
        }
        match text(v, "format") {
            "int32" if low < i64::from(i32::MIN) || high > i64::from(i32::MAX) => {
                self.say(at, "limits beyond int32")
            }
            "int32" | "int64" => {}
            _ => self.say(at, "format must be int32 or int64"),
        }
        if at.ends_with("_cents") && (v["format"] != "int64" || low < -MAX_CENTS || high > MAX_CENTS) {
            self.say(at, format!("money is int64 within ±{MAX_CENTS}"));
        }
        if let Some(e) = v.get("example")
            && !(e.is_null() && v["nullable"] == true)
            && !e.as_i64().is_some_and(|n| (low..=high).contains(&n))
        {
            self.say(at, format!("example {e} is not within the limits"));
        }
    }

    fn array(&mut self, at: &str, v: &Value, place: Place) {
        if !v["maxItems"].is_u64() {
            self.say(at, "maxItems is missing");
        }
        if place == Place::Item {
            self.say(at, "an array of arrays needs a named schema between");
        }
        let items = &v["items"];
        if items["type"] == "object" || items["type"] == "array" {
            self.say(at, "items must be a $ref or a scalar");
        } else if items.is_null() {
            self.say(at, "items is missing");
        } else {
            self.schema(&format!("{at}.items"), items, Place::Item);
        }
    }

    fn object(&mut self, at: &str, v: &Value, place: Place) {
        let open = v.get("additionalProperties");
        let Some(properties) = v.get("properties").and_then(Value::as_object) else {
            // a free object or a map
            if !v["maxProperties"].is_u64() {
                self.say(at, "an object without properties needs maxProperties");
            }
            match open {
                Some(Value::Bool(true)) => {}
                Some(s @ Value::Object(_)) => {
                    self.schema(&format!("{at}.additionalProperties"), s, Place::Item)
                }
                _ => {
                    self.say(at, "an object without properties needs additionalProperties: true or a schema")
                }
            }
            if place == Place::Item {
                self.say(at, "a named schema, not an inline object");
            }
            return;
        };
        if place != Place::Named {
            return self.say(at, "an inline object: give it a name and a $ref");
        }
        if open.is_some_and(|o| o != false) {
            self.say(at, "additionalProperties beside properties can only be false");
        }
        for r in v["required"].as_array().into_iter().flatten() {
            if !r.as_str().is_some_and(|r| properties.contains_key(r)) {
                self.say(at, format!("required names {r}, which is not a property"));
            }
        }
        for (name, p) in properties {
            if !matches!("^[a-z][a-z0-9_]*$", name) {
                self.say(at, format!("property `{name}` must be snake case"));
            }
            self.schema(&format!("{at}.properties.{name}"), p, Place::Property);
        }
    }

    /// What goes in is closed, what goes out says every field, and nothing is there for no operation.
    fn directions(&mut self) {
        let doc = &self.b.doc;
        let (mut into, mut out, mut all) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (_, _, op) in operations(doc) {
            if let Some(body) = op.get("requestBody") {
                reach(doc, body, &mut into);
            }
            reach(doc, &op["responses"], &mut out);
            reach(doc, op, &mut all);
        }
        for s in doc["components"]["schemas"].as_object().into_iter().flat_map(|m| m.iter()) {
            if s.1.get("x-event").is_some() {
                out.insert(format!("schemas/{}", s.0));
                reach(doc, s.1, &mut out);
            }
        }
        all.extend(out.iter().cloned());
        for (key, file) in &self.b.component_file {
            let (kind, name) = key.split_once('/').unwrap_or_default();
            if kind == "securitySchemes" {
                continue;
            }
            let at = format!("{file}.yaml: components.{kind}.{name}");
            if !all.contains(key) {
                self.problems.push(format!("{at}: no operation reaches it"));
            }
            let schema = &doc["components"][kind][name];
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else { continue };
            let (i, o) = (into.contains(key), out.contains(key));
            if i && o {
                self.problems.push(format!("{at}: goes both in and out: make two schemas of it"));
            } else if i && schema["additionalProperties"] != false {
                self.problems.push(format!("{at}: goes in, so it says additionalProperties: false"));
            } else if o && schema.get("additionalProperties").is_some() {
                self.problems.push(format!("{at}: goes out, so it does not say additionalProperties"));
            }
            // the envelope of errors is the one answer with a field that may be absent
            if o && name != "ErrorBody" {
                let required = schema["required"].as_array().cloned().unwrap_or_default();
                for p in properties.keys() {
                    if !required.iter().any(|r| r == p.as_str()) {
                        self.problems.push(format!(
                            "{at}: {p} goes out, so it is required (nullable where it may be missing)"
                        ));
                    }
                }
            }
            for (p, v) in properties {
                if o && v["x-secret"] == true && v["nullable"] != true {
                    self.problems.push(format!("{at}.properties.{p}: a secret that goes out is nullable"));
                }
            }
        }
    }
}

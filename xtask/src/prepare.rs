//! Makes three documents of the bundle: the one that is served, the one that openapi-generator reads (with all that
//! the templates must write already worked out, in `x-` fields) and the one that progenitor reads.
//!
//! Templates cannot reason, so everything that needs a decision is decided here: the Rust type of a field, its
//! attributes, how a parameter is read, what an operation takes and answers. openapi-generator goes over models, tags
//! and operations and names them.
mod documents;
mod names;

pub use names::{pascal, snake};

use crate::bundle::{Bundle, METHODS, deref, operations, reach};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

pub struct Prepared {
    /// For `/openapi.json`: what is built.
    pub served: Value,
    /// For openapi-generator.
    pub generator: Value,
    /// For progenitor.
    pub client: Value,
    /// Names of the schemas that the types crate has, and whether each is an enum.
    pub types: BTreeMap<String, bool>,
    /// The groups that have an operation.
    pub groups: Vec<String>,
    /// `operations.rs`, without its banner.
    pub operations: String,
    /// `patterns.rs`, without its banner.
    pub patterns: String,
}

/// These are written by hand in `types/src/support/`.
pub const HANDWRITTEN: [&str; 5] = ["Decimal", "ErrorBody", "ErrorCode", "ErrorDetail", "ErrorEnvelope"];

pub fn prepare(bundle: &Bundle) -> Prepared {
    let mut doc = bundle.doc.clone();
    drop_planned(&mut doc);
    prune(&mut doc);
    let groups: Vec<String> = bundle
        .groups
        .iter()
        .filter(|g| operations(&doc).iter().any(|(_, _, op)| op["tags"][0] == g.as_str()))
        .cloned()
        .collect();
    let mut patterns = Patterns::default();
    let generator = generator(&doc, bundle, &mut patterns);
    let types = generator["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, s)| (name.clone(), s.get("enum").is_some()))
        .chain(HANDWRITTEN.iter().map(|n| (n.to_string(), *n == "ErrorCode")))
        .collect();
    Prepared {
        served: served(&doc, &groups),
        client: documents::client(&doc, &generator),
        operations: documents::operations_table(&doc),
        patterns: patterns.file(),
        generator,
        types,
        groups,
    }
}

fn drop_planned(doc: &mut Value) {
    let Some(paths) = doc["paths"].as_object_mut() else { return };
    for item in paths.values_mut() {
        if let Some(m) = item.as_object_mut() {
            m.retain(|_, op| op["x-planned"] != true);
        }
    }
    paths.retain(|_, item| item.as_object().is_some_and(|m| !m.is_empty()));
}

/// Keeps the components that an operation or an event reaches.
fn prune(doc: &mut Value) {
    let mut keep = BTreeSet::new();
    reach(doc, &doc["paths"], &mut keep);
    for (name, s) in doc["components"]["schemas"].as_object().into_iter().flatten() {
        if s.get("x-event").is_some() {
            keep.insert(format!("schemas/{name}"));
            reach(doc, s, &mut keep);
        }
    }
    for kind in ["parameters", "responses", "schemas"] {
        if let Some(m) = doc["components"][kind].as_object_mut() {
            m.retain(|name, _| keep.contains(&format!("{kind}/{name}")));
        }
    }
}

fn served(doc: &Value, groups: &[String]) -> Value {
    let mut doc = doc.clone();
    for (path, method) in keys(&doc) {
        if let Some(op) = doc["paths"][&path][&method].as_object_mut() {
            op.shift_remove("x-audit");
        }
    }
    if let Some(tags) = doc["tags"].as_array_mut() {
        tags.retain(|t| groups.iter().any(|g| t["name"] == g.as_str()));
    }
    // events are types of ours; only what an operation reaches is served
    let mut seen = BTreeSet::new();
    reach(&doc, &doc["paths"], &mut seen);
    if let Some(m) = doc["components"]["schemas"].as_object_mut() {
        m.retain(|name, _| seen.contains(&format!("schemas/{name}")));
        for s in m.values_mut().filter_map(Value::as_object_mut) {
            s.shift_remove("x-event");
        }
    }
    doc
}

fn keys(doc: &Value) -> Vec<(String, String)> {
    operations(doc).into_iter().map(|(p, m, _)| (p.to_string(), m.to_string())).collect()
}

// ---- names

const RAW: &str = "abstract as async await become box break const continue do dyn else enum extern final fn for gen if impl in \
    let loop macro match mod move mut override priv pub ref return static struct trait try type typeof unsafe unsized use \
    virtual where while yield true false";

fn ident(name: &str) -> String {
    if RAW.split_whitespace().any(|k| k == name) { format!("r#{name}") } else { name.to_string() }
}

/// Text as `///` lines.
fn doc_lines(text: &str) -> String {
    let mut out = String::new();
    for paragraph in text.trim().split("\n") {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + word.chars().count() > 100 {
                let _ = writeln!(out, "/// {line}");
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        let _ = writeln!(out, "{}", format!("/// {line}").trim_end());
    }
    out.trim_end().to_string()
}

/// A regular expression, once for each that the specification has, under the name of the field it is first met at.
#[derive(Default)]
struct Patterns {
    by_pattern: BTreeMap<String, String>,
    names: BTreeSet<String>,
}

impl Patterns {
    fn name(&mut self, pattern: &str, hint: &str) -> String {
        if let Some(name) = self.by_pattern.get(pattern) {
            return name.clone();
        }
        let base = hint.to_uppercase();
        let mut name = base.clone();
        let mut n = 1;
        while !self.names.insert(name.clone()) {
            n += 1;
            name = format!("{base}_{n}");
        }
        self.by_pattern.insert(pattern.to_string(), name.clone());
        name
    }

    fn file(&self) -> String {
        let mut named: Vec<_> = self.by_pattern.iter().map(|(p, n)| (n, p)).collect();
        named.sort();
        let mut out = String::from(
            "//! The patterns of the specification, compiled when they are first used.\n\
             use regex::Regex;\nuse std::sync::LazyLock;\n\n",
        );
        for (name, pattern) in named {
            let _ = writeln!(
                out,
                "pub static {name}: LazyLock<Regex> = LazyLock::new(|| crate::support::pattern(r#\"{pattern}\"#));"
            );
        }
        out
    }
}

const TIME: &str = "chrono::DateTime<chrono::Utc>";
const DATE: &str = "chrono::NaiveDate";

// ---- the document for openapi-generator

struct Maker<'a> {
    doc: &'a Value,
    /// Schemas that a request body reaches: they are checked.
    into: BTreeSet<String>,
    patterns: &'a mut Patterns,
}

fn generator(doc: &Value, bundle: &Bundle, patterns: &mut Patterns) -> Value {
    let mut into = BTreeSet::new();
    let mut roots = BTreeSet::new();
    for (_, _, op) in operations(doc) {
        if let Some(body) = op.get("requestBody") {
            reach(doc, body, &mut into);
            for c in body["content"].as_object().into_iter().flat_map(|m| m.values()) {
                roots.extend(c["schema"]["$ref"].as_str().map(str::to_string));
            }
        }
    }
    let mut maker = Maker { doc, into, patterns };
    let mut out = json!({
        "openapi": "3.0.3", "info": doc["info"], "servers": doc["servers"], "tags": doc["tags"],
        "paths": {}, "components": { "schemas": {} },
    });
    for (name, schema) in doc["components"]["schemas"].as_object().into_iter().flatten() {
        // a form with a file is read by hand
        let form =
            schema["properties"].as_object().is_some_and(|m| m.values().any(|p| p["format"] == "binary"));
        if form || HANDWRITTEN.contains(&name.as_str()) {
            continue;
        }
        let is_root = roots.contains(&format!("#/components/schemas/{name}"));
        if let Some(mut made) = maker.model(name, schema, is_root) {
            made["x-group"] = json!(bundle.component_file[&format!("schemas/{name}")]);
            out["components"]["schemas"][name] = made;
        }
    }
    for (path, method) in keys(doc) {
        out["paths"][&path][&method] = maker.operation(&path, &method, &doc["paths"][&path][&method]);
    }
    out
}

/// What a field is in Rust, and what there is to check about it.
struct Field {
    ty: String,
    /// Limits, as `length(…)`, `range(…)`, `email`, `url`.
    limits: Vec<String>,
    pattern: Option<String>,
    /// Limits of the items of a list or the values of a map.
    inner: Option<Box<Field>>,
    /// A type of ours with limits inside.
    nested: bool,
}

impl Maker<'_> {
    /// The named schema that a `$ref`, bare or as the one member of `allOf`, leads to.
    fn named(&self, v: &Value) -> Option<(String, Value)> {
        let r = v.get("$ref").or_else(|| v["allOf"][0].get("$ref")).and_then(Value::as_str)?;
        let name = r.rsplit('/').next()?;
        Some((name.to_string(), self.doc["components"]["schemas"][name].clone()))
    }

    /// Whether a named schema becomes a type; the others are written out where they are used.
    fn is_type(schema: &Value) -> bool {
        schema.get("enum").is_some() || schema.get("properties").is_some() || schema.get("oneOf").is_some()
    }

    fn field(&mut self, v: &Value, hint: &str) -> Field {
        let plain =
            |ty: &str| Field { ty: ty.into(), limits: vec![], pattern: None, inner: None, nested: false };
        if let Some((name, target)) = self.named(v) {
            if name == "Decimal" {
                return plain("models::Decimal");
            }
            if Self::is_type(&target) || HANDWRITTEN.contains(&name.as_str()) {
                let mut f = plain(&format!("models::{name}"));
                f.nested = target.get("enum").is_none() && !HANDWRITTEN.contains(&name.as_str());
                return f;
            }
            let hint = snake(&name);
            return self.field(&target, &hint);
        }
        match (v["type"].as_str().unwrap_or_default(), v["format"].as_str().unwrap_or_default()) {
            ("string", "date-time") => plain(TIME),
            ("string", "date") => plain(DATE),
            ("string", "uuid") => plain("uuid::Uuid"),
            ("string", "decimal") => plain("models::Decimal"),
            ("string", format) => {
                let mut f = plain("String");
                f.limits.extend(limits("length", &v["minLength"], &v["maxLength"]));
                match format {
                    "email" => f.limits.push("email".into()),
                    "uri" => f.limits.push("url".into()),
                    _ => {}
                }
                f.pattern = v["pattern"].as_str().map(|p| {
                    self.patterns.name(p, hint);
                    p.to_string()
                });
                f
            }
            ("integer", format) => {
                let mut f = plain(if format == "int64" { "i64" } else { "i32" });
                f.limits.extend(limits("range", &v["minimum"], &v["maximum"]));
                f
            }
            ("boolean", _) => plain("bool"),
            ("array", _) => {
                let item = self.field(&v["items"], hint);
                let mut f = plain(&format!("Vec<{}>", item.ty));
                f.limits.extend(limits("length", &v["minItems"], &v["maxItems"]));
                f.nested = item.nested;
                f.inner = Some(Box::new(item));
                f
            }
            ("object", _) => {
                let mut f = plain("std::collections::BTreeMap<String, serde_json::Value>");
                if let Some(of) = v.get("additionalProperties").filter(|a| a.is_object()) {
                    let value = self.field(of, hint);
                    f.ty = format!("std::collections::BTreeMap<String, {}>", value.ty);
                    f.nested = value.nested;
                    f.inner = Some(Box::new(value));
                }
                f.limits.extend(limits("length", &v["minProperties"], &v["maxProperties"]));
                f
            }
            _ => plain("serde_json::Value"),
        }
    }

    /// A model as the template wants it, or nothing for what is written out where it is used.
    fn model(&mut self, name: &str, schema: &Value, is_root: bool) -> Option<Value> {
        let doc_of = |s: &Value| doc_lines(s["description"].as_str().unwrap_or_default());
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            let variants: Vec<Value> = values
                .iter()
                .filter_map(Value::as_str)
                .map(|v| {
                    let name = pascal(v);
                    let name = if name.starts_with(|c: char| c.is_ascii_digit()) {
                        format!("N{name}")
                    } else {
                        name
                    };
                    json!({ "name": if name == "Self" { "Itself".into() } else { name }, "value": v })
                })
                .collect();
            return Some(json!({
                "type": "string", "enum": values, "x-doc": doc_of(schema), "x-enum": true, "x-variants": variants,
                "x-values": values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            }));
        }
        if schema.get("oneOf").is_some() {
            let tag = schema["discriminator"]["propertyName"].as_str().unwrap_or_default();
            let variants: Vec<Value> = schema["discriminator"]["mapping"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(value, r)| {
                    let ty = r.as_str().and_then(|r| r.rsplit('/').next()).unwrap_or_default();
                    json!({ "name": pascal(value), "value": value, "type": ty })
                })
                .collect();
            return Some(json!({
                "type": "object", "properties": { "any": { "type": "string" } }, "x-doc": doc_of(schema), "x-one-of": true, "x-tag": tag,
                "x-variants": variants, "x-in": self.into.contains(&format!("schemas/{name}")),
            }));
        }
        let goes_in = self.into.contains(&format!("schemas/{name}"));
        let (mut properties, mut required) = (Map::new(), Vec::new());
        let mut checks = String::new();
        let mut list = Value::Null;
        match schema.get("properties").and_then(Value::as_object) {
            Some(list) => {
                let needed = schema["required"].as_array().cloned().unwrap_or_default();
                for (p, v) in list {
                    let is_required = needed.iter().any(|r| r == p.as_str());
                    properties
                        .insert(p.clone(), self.property(name, p, v, is_required, goes_in, &mut checks));
                    required.push(json!(p));
                }
            }
            // a body that is a list: a type around it, so that its limits are checked
            None if is_root && schema["type"] == "array" => {
                let said = |k: &str| schema[k].as_u64().map_or("None".to_string(), |n| format!("Some({n})"));
                list = json!({ "min": said("minItems"), "max": said("maxItems") });
                let mut v = schema.clone();
                if let Some(m) = v.as_object_mut() {
                    m.shift_remove("example");
                }
                let mut items = self.property(name, "items", &v, true, goes_in, &mut checks);
                if let Some(attrs) = items["x-attrs"].as_array_mut() {
                    attrs.retain(|a| !a.as_str().is_some_and(|a| a.starts_with("#[schemars")));
                }
                properties.insert("items".into(), items);
                required.push(json!("items"));
            }
            None => return None,
        }
        Some(json!({
            "type": "object", "properties": properties, "required": required,
            "x-doc": doc_of(schema), "x-struct": true, "x-in": goes_in,
            "x-closed": schema["additionalProperties"] == false, "x-list": if list.is_null() { json!(false) } else { list },
            "x-checks": checks,
        }))
    }

    fn property(
        &mut self,
        model: &str,
        name: &str,
        v: &Value,
        required: bool,
        goes_in: bool,
        checks: &mut String,
    ) -> Value {
        let f = self.field(v, name);
        let nullable = v["nullable"] == true;
        let mut attrs = Vec::new();
        // where serde would be laxer than the specification, a function of ours reads the field
        let list = f.ty.starts_with("Vec<");
        let what = match (f.nested && goes_in, list) {
            (true, true) => "objects",
            (true, false) if f.ty.starts_with("models::") => "object",
            _ => "",
        };
        let read = |name: &str| format!("deserialize_with = \"crate::support::{name}\"");
        let absent = "default, skip_serializing_if = \"Option::is_none\"";
        match (required, nullable) {
            (true, false) if what.is_empty() => {}
            (true, false) => attrs.push(format!("#[serde({})]", read(what))),
            (true, true) => {
                match (goes_in, what) {
                    (false, _) => {}
                    (true, "object") => attrs.push(format!("#[serde({})]", read("nullable_object"))),
                    (true, _) => attrs.push(format!("#[serde({})]", read("nullable"))),
                }
                attrs.push(format!("#[schemars(with = \"crate::support::Nullable<{}>\")]", f.ty));
            }
            (false, false) => {
                let name = if what.is_empty() { "present".to_string() } else { format!("present_{what}") };
                attrs.push(format!("#[serde({absent}, {})]", read(&name)));
                attrs.push(format!("#[schemars(with = \"{}\")]", f.ty));
            }
            (false, true) => {
                let how = match what {
                    "object" => {
                        format!(
                            "serialize_with = \"::serde_with::rust::double_option::serialize\", {}",
                            read("present_nullable_object")
                        )
                    }
                    _ => "with = \"::serde_with::rust::double_option\"".to_string(),
                };
                attrs.push(format!("#[serde({absent}, {how})]"));
                attrs.push(format!("#[schemars(with = \"Option<{}>\")]", f.ty));
            }
        }
        let ty = match (required, nullable) {
            (true, false) => f.ty.clone(),
            (true, true) | (false, false) => format!("Option<{}>", f.ty),
            (false, true) => format!("Option<Option<{}>>", f.ty),
        };
        // said in the document, and checked too where it goes in: then schemars reads the limits from `validate`
        let limits_said: &[String] = if goes_in { &[] } else { &f.limits };
        let said: Vec<String> = limits_said
            .iter()
            .cloned()
            .chain(f.pattern.as_ref().map(|p| format!("regex(pattern = r#\"{p}\"#)")))
            .chain(f.inner.as_ref().and_then(|i| inner_said(i)))
            .collect();
        if !said.is_empty() {
            attrs.push(format!("#[schemars({})]", said.join(", ")));
        }
        if goes_in {
            let mut checked = f.limits.clone();
            if let Some(p) = &f.pattern {
                checked.push(format!(
                    "regex(path = *crate::patterns::{}, message = {:?})",
                    self.patterns.name(p, name),
                    format!("must match {p}")
                ));
            }
            if let Some(i) = &f.inner
                && (!i.limits.is_empty() || i.pattern.is_some())
            {
                let function = format!("check_{}_{name}", snake(model));
                self.check(&function, &f, i, checks);
                checked.push(format!("custom(function = \"{function}\")"));
            }
            if f.nested {
                checked.push("nested".into());
            }
            match f.ty.as_str() {
                TIME => checked.push("custom(function = \"crate::support::time\")".into()),
                DATE => checked.push("custom(function = \"crate::support::date\")".into()),
                _ => {}
            }
            if !checked.is_empty() {
                attrs.push(format!("#[validate({})]", checked.join(", ")));
            }
        }
        json!({
            "type": "string",
            "x-doc": doc_lines(v["description"].as_str().unwrap_or_default()),
            "x-name": ident(name), "x-type": ty, "x-attrs": attrs, "x-secret": v["x-secret"] == true,
        })
    }

    /// A function that checks the items of a list or the values of a map.
    fn check(&mut self, function: &str, outer: &Field, i: &Field, checks: &mut String) {
        let map = outer.ty.starts_with("std::collections");
        let bounds = |key: &str| -> (String, String) {
            let text = i.limits.iter().find(|l| l.starts_with(key)).cloned().unwrap_or_default();
            let part = |k: &str| {
                text.split([',', '(', ')'])
                    .find_map(|p| {
                        p.trim().strip_prefix(k).map(|n| n.trim_start_matches([' ', '=']).to_string())
                    })
                    .map_or("None".to_string(), |n| format!("Some({n})"))
            };
            (part("min"), part("max"))
        };
        let pattern = i
            .pattern
            .as_ref()
            .map_or("None".into(), |p| format!("Some(&*crate::patterns::{})", self.patterns.name(p, "item")));
        let call = match i.ty.as_str() {
            "i32" | "i64" => {
                let (min, max) = bounds("range");
                format!("crate::support::integer(i64::from(*v), {min}, {max})")
            }
            _ => {
                let (min, max) = bounds("length");
                format!("crate::support::text(v, {min}, {max}, {pattern})")
            }
        };
        let (arg, iter) = if map {
            (format!("&{}", outer.ty), "all.iter().map(|(k, v)| (k.as_str(), v))")
        } else {
            (format!("&[{}]", i.ty), "all.iter().enumerate()")
        };
        let _ = writeln!(
            checks,
            "fn {function}(all: {arg}) -> Result<(), validator::ValidationError> {{\n    \
             crate::support::each({iter}, |v| {call})\n}}"
        );
    }

    // ---- operations

    fn operation(&mut self, path: &str, method: &str, op: &Value) -> Value {
        let id = op["operationId"].as_str().unwrap_or_default();
        let camel = pascal(id);
        let public = op["x-level"] == "public";
        let idempotent = op["x-idempotent"] == true;
        // arguments, in the order in which they are taken
        let mut args: Vec<(String, String, String)> = Vec::new(); // name, type, how it is taken
        if !public {
            args.push(("auth".into(), format!("Auth<perm::{camel}>"), "Auth::take(&rqctx).await?".into()));
        }
        let mut structs = Vec::new();
        for (place, suffix, wrapper) in [
            ("path", "Path", "PathParams"),
            ("query", "Query", "QueryParams"),
            ("header", "Headers", "HeaderParams"),
        ] {
            let fields: Vec<Value> = op["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|p| deref(self.doc, p).clone())
                .filter(|p| p["in"] == place)
                .filter(|p| !p["name"].as_str().is_some_and(|n| n.eq_ignore_ascii_case("idempotency-key")))
                .map(|p| self.parameter(&p))
                .collect();
            if fields.is_empty() {
                continue;
            }
            let name = if place == "header" { "headers" } else { place };
            args.push((
                name.into(),
                format!("{wrapper}<{camel}{suffix}>"),
                format!("{wrapper}::take(&rqctx)?"),
            ));
            structs.push(json!({
                "name": format!("{camel}{suffix}"), "fields": fields,
                "doc": doc_lines(&format!("The {} of `{id}`.", match place {
                    "path" => "variables in the path", "query" => "query parameters", _ => "headers",
                })),
            }));
        }
        let mut shape = "";
        let content_type = match op["requestBody"]["content"].as_object().and_then(|m| m.iter().next()) {
            Some((media, c)) => {
                match media.as_str() {
                    "application/json" => {
                        let name = c["schema"]["$ref"]
                            .as_str()
                            .and_then(|r| r.rsplit('/').next())
                            .unwrap_or_default();
                        let ty = format!("Json<models::{name}>");
                        let target = &self.doc["components"]["schemas"][name];
                        shape = if target["type"] == "array" { "Shape::List" } else { "Shape::Object" };
                        args.push((
                            "body".into(),
                            ty,
                            format!("Json::take(&rqctx, request, {shape}).await?"),
                        ));
                    }
                    "multipart/form-data" => {
                        args.push((
                            "body".into(),
                            "Multipart".into(),
                            "Multipart::take(&rqctx, request)?".into(),
                        ));
                    }
                    _ => args.push((
                        "body".into(),
                        "RawBody".into(),
                        "RawBody::take(&rqctx, request).await?".into(),
                    )),
                }
                if media == "multipart/form-data" { "multipart/form-data" } else { "application/json" }
            }
            None => "application/json",
        };
        let answer = self.answer(op);
        let mut takes = String::new();
        for (name, _, how) in &args {
            match name.as_str() {
                "auth" if idempotent => {
                    let _ = writeln!(takes, "let mut auth = {how};");
                }
                "body" if idempotent => {
                    let _ = writeln!(
                        takes,
                        "let (body, bytes) = Json::take_with_bytes(&rqctx, request, {shape}).await?;"
                    );
                    let _ = writeln!(takes, "auth.idempotency = idempotency(&rqctx, &bytes)?;");
                }
                _ => {
                    let _ = writeln!(takes, "let {name} = {how};");
                }
            }
        }
        if !public && !args.iter().any(|(n, _, _)| n == "query") {
            let at = takes.find('\n').map_or(0, |i| i + 1);
            takes.insert_str(at, "no_query(&rqctx)?;\n");
        }
        if idempotent && !args.iter().any(|(n, _, _)| n == "body") {
            let _ = writeln!(takes, "auth.idempotency = idempotency(&rqctx, &[])?;");
        }
        let join = |f: &dyn Fn(&(String, String, String)) -> String| {
            args.iter().map(f).collect::<Vec<_>>().join(", ")
        };
        let description = op["description"].as_str().unwrap_or_default();
        let summary = op["summary"].as_str().unwrap_or_default();
        let mut types: Vec<String> = args.iter().map(|(_, t, _)| t.clone()).collect();
        if idempotent {
            // said in the document; the value comes in `auth.idempotency`
            let at = types.len() - usize::from(args.last().is_some_and(|(n, _, _)| n == "body"));
            types.insert(at, "IdempotencyKey".into());
        }
        let takes_body = args.iter().any(|(n, _, _)| n == "body");
        let variables: Vec<Value> = path
            .split('/')
            .filter_map(|s| s.strip_prefix('{').and_then(|s| s.strip_suffix('}')))
            .map(|n| json!({ "name": n, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        json!({
            "operationId": id,
            "tags": op["tags"],
            "parameters": variables,
            "summary": id,
            "responses": { "200": { "description": "ok" } },
            "x-id": id, "x-perm": camel, "x-auth": !public, "x-method": method.to_uppercase(),
            "x-path": path,
            "x-doc": doc_lines(&format!("{summary}\n\n{description}")),
            "x-summary": format!("{summary:?}"),
            "x-content-type": content_type,
            "x-max": op.get("x-max-body-bytes").cloned().unwrap_or(json!(false)),
            "x-deprecated": op["deprecated"] == true,
            "x-tag": op["tags"][0],
            "x-args": join(&|(n, t, _)| format!("{n}: {t}")),
            "x-types": types.join(", "),
            "x-arg-types": join(&|(_, t, _)| t.clone()),
            "x-names": join(&|(n, _, _)| n.clone()),
            "x-takes": takes, "x-answer": answer,
            "x-request": if takes_body { "request" } else { "_request" },
            "x-structs": structs,
            "x-audited": op["x-audit"] == true, "x-level": op["x-level"], "x-permission": op["x-permission"],
        })
    }

    fn answer(&self, op: &Value) -> String {
        let Some((code, r)) =
            op["responses"].as_object().into_iter().flatten().find(|(c, _)| c.starts_with('2'))
        else {
            return "R204".into();
        };
        match r["content"].as_object().and_then(|m| m.iter().next()) {
            None => format!("R{code}"),
            Some((media, c)) if media == "application/json" => {
                let name =
                    c["schema"]["$ref"].as_str().and_then(|r| r.rsplit('/').next()).unwrap_or_default();
                format!("R{code}<models::{name}>")
            }
            Some(_) => "Download".into(),
        }
    }

    /// A field of a struct of parameters: its type, what it says and how it is read.
    fn parameter(&mut self, p: &Value) -> Value {
        let name = p["name"].as_str().unwrap_or_default();
        let field = snake(name);
        let required = p["required"] == true;
        let f = self.field(&p["schema"], &field);
        let default = p["schema"].get("default");
        let mut attrs = Vec::new();
        if field != name {
            attrs.push(format!("#[serde(rename = \"{name}\")]"));
        }
        if let Some(d) = default {
            let kind = match f.ty.as_str() {
                "bool" => "bool",
                "i64" => "i64",
                _ => "i32",
            };
            attrs.push(format!("#[serde(default = \"default_{kind}::<{d}>\")]"));
        } else if !required {
            attrs.push("#[serde(default)]".into());
            attrs.push(format!("#[schemars(with = \"{}\")]", f.ty));
        }
        let said: Vec<String> = f
            .limits
            .iter()
            .cloned()
            .chain(f.pattern.as_ref().map(|p| format!("regex(pattern = r#\"{p}\"#)")))
            .collect();
        if !said.is_empty() {
            attrs.push(format!("#[schemars({})]", said.join(", ")));
        }
        let min_max = f.limits.iter().find_map(|l| {
            let inside = l.strip_prefix("length(").or(l.strip_prefix("range("))?.strip_suffix(')')?;
            let part = |k: &str| {
                inside
                    .split(", ")
                    .find_map(|x| x.strip_prefix(k))
                    .map_or("None".to_string(), |n| format!("Some({n})"))
            };
            Some((part("min = "), part("max = ")))
        });
        let (min, max) = min_max.unwrap_or(("None".into(), "None".into()));
        let pattern = f.pattern.as_ref().map_or("None".into(), |p| {
            format!("Some(&scaicontrol_types::patterns::{})", self.patterns.name(p, &field))
        });
        let how = match f.ty.as_str() {
            "String" => format!("reader.text({name:?}, {min}, {max}, {pattern})"),
            "i32" | "i64" => format!("reader.integer({name:?}, {min}, {max})"),
            "uuid::Uuid" => format!("reader.id({name:?})"),
            TIME => format!("reader.time({name:?})"),
            DATE => format!("reader.date({name:?})"),
            _ => format!("reader.parsed({name:?})"),
        };
        let (ty, read) = match (required, default) {
            (true, _) => (f.ty.clone(), format!("reader.required({name:?}, |reader| {how})")),
            (false, Some(d)) => (f.ty.clone(), format!("{how}.unwrap_or({d})")),
            (false, None) => (format!("Option<{}>", f.ty), how),
        };
        json!({
            "name": ident(&field), "param": name, "type": ty, "required": required, "attrs": attrs, "read": read,
            "doc": doc_lines(p["description"].as_str().unwrap_or_default()),
        })
    }
}

fn inner_said(i: &Field) -> Option<String> {
    let said: Vec<String> = i
        .limits
        .iter()
        .cloned()
        .chain(i.pattern.as_ref().map(|p| format!("regex(pattern = r#\"{p}\"#)")))
        .chain(i.inner.as_ref().and_then(|i| inner_said(i)))
        .collect();
    (!said.is_empty()).then(|| format!("inner({})", said.join(", ")))
}

fn limits(kind: &str, min: &Value, max: &Value) -> Option<String> {
    // a literal that an i32 cannot hold says that it is an i64
    let suffix = |n: i64| if i32::try_from(n).is_ok() { "" } else { "_i64" };
    let part = |k: &str, v: &Value| v.as_i64().map(|n| format!("{k} = {n}{}", suffix(n)));
    let parts: Vec<String> = part("min", min).into_iter().chain(part("max", max)).collect();
    (!parts.is_empty()).then(|| format!("{kind}({})", parts.join(", ")))
}

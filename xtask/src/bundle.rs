//! Joins the files of `api-spec/` into one OpenAPI document.
//!
//! Every file is an OpenAPI document by itself: `openapi.yaml` has the title, tags, servers and security,
//! `common.yaml` what several groups share, `<group>.yaml` the operations of one group. Paths and components are
//! merged, `other.yaml#/components/…` becomes `#/components/…`, and the parameters of a path move into its
//! operations. Where each piece came from is kept, so that the lint can name the file.
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

pub const METHODS: [&str; 7] = ["get", "put", "post", "patch", "delete", "head", "options"];

pub struct Bundle {
    pub doc: Value,
    /// The file (without `.yaml`) of each component, by `kind/name`.
    pub component_file: BTreeMap<String, String>,
    /// The file (without `.yaml`) of each operation, by `path method`.
    pub operation_file: BTreeMap<String, String>,
    /// The tags in the order of `openapi.yaml`: the groups.
    pub groups: Vec<String>,
    /// What is wrong with the files as such: doubles, wrong version, unreadable YAML, references to nowhere.
    pub problems: Vec<String>,
}

pub fn bundle(dir: &Path) -> Result<Bundle> {
    let root_text = std::fs::read_to_string(dir.join("openapi.yaml")).context("api-spec/openapi.yaml")?;
    let mut doc: Value = serde_norway::from_str(&root_text).context("api-spec/openapi.yaml")?;
    let groups: Vec<String> = doc["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|t| t["name"].as_str().map(str::to_string))
        .collect();
    let mut out = Bundle {
        doc: Value::Null,
        component_file: BTreeMap::new(),
        operation_file: BTreeMap::new(),
        groups,
        problems: Vec::new(),
    };
    let mut paths = Map::new();
    let mut components = take_map(&mut doc, "components");
    for (kind, entries) in &components {
        for name in entries.as_object().into_iter().flat_map(|m| m.keys()) {
            out.component_file.insert(format!("{kind}/{name}"), "openapi".into());
        }
    }

    let mut files: Vec<_> = std::fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|p| p.extension().is_some_and(|e| e == "yaml") && !p.ends_with("openapi.yaml"));
    files.sort();
    for file in &files {
        let slug = file.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_string();
        if slug != "common" && !out.groups.contains(&slug) {
            out.problems.push(format!("{slug}.yaml: no tag of that name in openapi.yaml"));
        }
        let text = std::fs::read_to_string(file)?;
        let mut part: Value = match serde_norway::from_str(&text) {
            Ok(v) => v,
            Err(e) => {
                out.problems.push(format!("{slug}.yaml: {e}"));
                continue;
            }
        };
        check_head(&slug, &part, &mut out.problems);
        for (path, item) in take_map(&mut part, "paths") {
            add_path(&slug, path, item, &mut paths, &mut out);
        }
        for (kind, entries) in take_map(&mut part, "components") {
            let Value::Object(entries) = entries else {
                out.problems.push(format!("{slug}.yaml: components.{kind}: not a map"));
                continue;
            };
            let into = components.entry(kind.clone()).or_insert_with(|| json!({}));
            for (name, entry) in entries {
                let key = format!("{kind}/{name}");
                if let Some(other) = out.component_file.insert(key, slug.clone()) {
                    out.problems
                        .push(format!("{slug}.yaml: components.{kind}.{name}: {other}.yaml defines it too"));
                }
                if let Some(m) = into.as_object_mut() {
                    m.insert(name, entry);
                }
            }
        }
    }
    for group in &out.groups {
        if !files.iter().any(|f| f.file_stem().is_some_and(|s| s == group.as_str())) {
            out.problems.push(format!("{group}.yaml: the file is missing"));
        }
    }
    for entries in components.values_mut() {
        if let Value::Object(m) = entries {
            m.sort_keys();
        }
    }
    components.sort_keys();
    paths.sort_keys();
    doc["paths"] = Value::Object(paths);
    doc["components"] = Value::Object(components);
    let known: Vec<String> =
        files.iter().filter_map(|f| Some(f.file_name()?.to_str()?.to_string())).collect();
    localise(&mut doc, &known, &out.component_file, "", &mut out.problems);
    let mut nowhere = Vec::new();
    check_refs(&doc, &doc, "", &mut nowhere);
    out.problems.extend(nowhere.into_iter().map(|(at, r)| format!("{at}: $ref {r} leads nowhere")));
    out.doc = doc;
    Ok(out)
}

fn check_head(slug: &str, part: &Value, problems: &mut Vec<String>) {
    let Some(map) = part.as_object() else {
        problems.push(format!("{slug}.yaml: not a map"));
        return;
    };
    if part["openapi"] != "3.0.3" {
        problems.push(format!("{slug}.yaml: openapi must be 3.0.3"));
    }
    for key in ["title", "version", "description"] {
        if part["info"][key].as_str().unwrap_or_default().is_empty() {
            problems.push(format!("{slug}.yaml: info.{key} is missing"));
        }
    }
    for key in map.keys() {
        if !["openapi", "info", "paths", "components"].contains(&key.as_str()) {
            problems
                .push(format!("{slug}.yaml: {key}: only openapi, info, paths and components belong here"));
        }
    }
    let components = part["components"].as_object();
    for kind in components.into_iter().flat_map(|m| m.keys()) {
        let fine = match slug {
            "common" => ["parameters", "responses", "schemas"].contains(&kind.as_str()),
            _ => ["parameters", "schemas"].contains(&kind.as_str()),
        };
        if !fine {
            problems.push(format!("{slug}.yaml: components.{kind}: only parameters and schemas belong here"));
        }
    }
}

fn add_path(slug: &str, path: String, item: Value, paths: &mut Map<String, Value>, out: &mut Bundle) {
    let Value::Object(mut item) = item else {
        out.problems.push(format!("{slug}.yaml: paths.{path}: not a map"));
        return;
    };
    let shared = match item.remove("parameters") {
        Some(Value::Array(a)) => a,
        _ => Vec::new(),
    };
    let into = paths.entry(path.clone()).or_insert_with(|| json!({}));
    for (method, mut op) in item {
        if !METHODS.contains(&method.as_str()) {
            out.problems.push(format!("{slug}.yaml: paths.{path}.{method}: not a method"));
            continue;
        }
        if !shared.is_empty() && op.is_object() {
            let own = op["parameters"].as_array().cloned().unwrap_or_default();
            op["parameters"] = shared.iter().cloned().chain(own).collect();
        }
        let key = format!("{path} {method}");
        if let Some(other) = out.operation_file.insert(key, slug.to_string()) {
            out.problems.push(format!("{slug}.yaml: paths.{path}.{method}: {other}.yaml defines it too"));
        }
        into[&method] = op;
    }
}

pub fn take_map(doc: &mut Value, key: &str) -> Map<String, Value> {
    match doc.get_mut(key).map(Value::take) {
        Some(Value::Object(m)) => m,
        _ => Map::new(),
    }
}

/// `file.yaml#/components/…` becomes `#/components/…`, in `$ref` and in discriminator mappings.
fn localise(
    v: &mut Value,
    files: &[String],
    owner: &BTreeMap<String, String>,
    at: &str,
    problems: &mut Vec<String>,
) {
    match v {
        Value::Object(m) => {
            for (k, x) in m.iter_mut() {
                match x {
                    Value::String(s) if k == "$ref" || s.contains(".yaml#/components/") => {
                        let Some(i) = s.find("#/") else { continue };
                        let (file, local) = (s[..i].to_string(), s[i..].to_string());
                        let component = local.trim_start_matches("#/components/");
                        if !file.is_empty() {
                            let from = owner.get(component).map(|o| format!("{o}.yaml"));
                            if !files.contains(&file) {
                                problems.push(format!("{at}.{k}: {s}: no such file"));
                            } else if from.is_some_and(|f| f != file) {
                                problems
                                    .push(format!("{at}.{k}: {s}: it stands in {}.yaml", owner[component]));
                            }
                        }
                        *s = local;
                    }
                    _ => localise(x, files, owner, &format!("{at}.{k}"), problems),
                }
            }
        }
        Value::Array(a) => {
            for (i, x) in a.iter_mut().enumerate() {
                localise(x, files, owner, &format!("{at}[{i}]"), problems);
            }
        }
        _ => {}
    }
}

fn check_refs(root: &Value, v: &Value, at: &str, out: &mut Vec<(String, String)>) {
    match v {
        Value::Object(m) => {
            for (k, x) in m {
                if k == "$ref" {
                    let r = x.as_str().unwrap_or_default();
                    if !r.starts_with("#/components/") || root.pointer(r.trim_start_matches('#')).is_none() {
                        out.push((at.trim_start_matches('.').to_string(), r.to_string()));
                    }
                } else {
                    check_refs(root, x, &format!("{at}.{k}"), out);
                }
            }
        }
        Value::Array(a) => {
            for (i, x) in a.iter().enumerate() {
                check_refs(root, x, &format!("{at}[{i}]"), out);
            }
        }
        _ => {}
    }
}

/// What `$ref` leads to, or the value itself.
pub fn deref<'a>(root: &'a Value, v: &'a Value) -> &'a Value {
    let mut v = v;
    for _ in 0..16 {
        match v.get("$ref").and_then(Value::as_str).and_then(|r| root.pointer(r.trim_start_matches('#'))) {
            Some(next) => v = next,
            None => break,
        }
    }
    v
}

/// Every operation: path, method, operation.
pub fn operations(doc: &Value) -> Vec<(&str, &str, &Value)> {
    let mut out = Vec::new();
    for (path, item) in doc["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            if let Some(op) = item.get(method) {
                out.push((path.as_str(), method, op));
            }
        }
    }
    out
}

/// The components that a value reaches through `$ref`s (discriminator mappings included), by `kind/name`.
pub fn reach(root: &Value, v: &Value, seen: &mut std::collections::BTreeSet<String>) {
    match v {
        Value::Object(m) => {
            for x in m.values() {
                match x.as_str().and_then(|s| s.strip_prefix("#/components/")) {
                    Some(name) => {
                        if seen.insert(name.to_string())
                            && let Some(next) = root.pointer(&format!("/components/{name}"))
                        {
                            reach(root, next, seen);
                        }
                    }
                    None => reach(root, x, seen),
                }
            }
        }
        Value::Array(a) => a.iter().for_each(|x| reach(root, x, seen)),
        _ => {}
    }
}

//! `cargo xtask tidy`: the house rules that a compiler does not know, over the handwritten Rust.
//!
//! Only rules that hold everywhere are here; clippy knows the others (`clippy.toml`).
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;
use syn::spanned::Spanned;
use syn::visit::Visit;

const FILE_LINES_MAX: usize = 800;
const FN_LINES_MAX: usize = 150;
/// A test that is a list of cases may be longer.
const TEST_LINES_MAX: usize = 150;
/// Folders of handwritten Rust; `support` and the tests of the generated crates are handwritten too.
const HANDWRITTEN: [&str; 6] = [
    "impl/",
    "tests/",
    "xtask/",
    "generated/api/src/support/",
    "generated/api/tests/",
    "generated/types/src/support/",
];
/// Words that leave work for somebody else.
const LEFT_OVER: [&str; 2] = ["TODO", "FIXME"];
/// Manifests of crates that are functions of their arguments.
const PURE: [&str; 2] = ["impl/domain/Cargo.toml", "impl/einvoice/Cargo.toml"];
/// What they may not know.
const IMPURE: [&str; 8] = ["tokio", "diesel", "diesel-async", "dropshot", "slog", "reqwest", "hyper", "rand"];

pub fn tidy(root: &Path) -> Result<()> {
    let mut problems = Vec::new();
    let files = tracked(root)?;
    for file in &files {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        any_file(file, &text, &mut problems);
        if file.ends_with(".rs") && HANDWRITTEN.iter().any(|h| file.starts_with(h)) {
            rust_file(file, &text, &mut problems);
        }
        if file.ends_with("Cargo.toml") {
            manifest(file, &text, &mut problems);
        }
    }
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} house rules are broken", problems.len());
    }
    println!("tidy: {} files, no problems", files.len());
    Ok(())
}

/// Files that git tracks or would track.
fn tracked(root: &Path) -> Result<Vec<String>> {
    let args = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let out = Command::new("git").args(args).current_dir(root).output().context("git does not start")?;
    if !out.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&out.stderr));
    }
    let mut files: Vec<String> = String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
    files.retain(|f| root.join(f).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}

fn any_file(file: &str, text: &str, problems: &mut Vec<String>) {
    for (number, line) in text.lines().enumerate() {
        let at = format!("{file}:{}", number + 1);
        if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") {
            problems.push(format!("{at}: a merge that was left half-way"));
        }
        if file != "xtask/src/tidy.rs"
            && (line.contains("/home/") || line.contains("/root/") || line.contains("/work/"))
        {
            problems.push(format!("{at}: a path that only one machine has"));
        }
    }
}

fn rust_file(file: &str, text: &str, problems: &mut Vec<String>) {
    // The unit tests of a file stand at its end and do not count.
    let lines = text.lines().take_while(|l| *l != "#[cfg(test)]").count();
    // The list of tables has as many lines as the tables have columns.
    if lines > FILE_LINES_MAX && !file.ends_with("/db/schema.rs") {
        problems
            .push(format!("{file}: {lines} lines, at most {FILE_LINES_MAX}: split it by what it is about"));
    }
    let is_test_module = file.ends_with("/tests.rs") && !file.starts_with("tests/");
    if !is_test_module && !text.lines().next().is_some_and(|l| l.starts_with("//!")) {
        problems.push(format!("{file}: begins without saying what the module owns and why (`//!`)"));
    }
    if file != "xtask/src/tidy.rs" {
        for (number, line) in text.lines().enumerate() {
            line_rules(file, &format!("{file}:{}", number + 1), line, problems);
        }
    }
    match syn::parse_file(text) {
        Ok(parsed) => Functions { file, problems }.visit_file(&parsed),
        Err(e) => problems.push(format!("{file}: {e}")),
    }
}

fn line_rules(file: &str, at: &str, line: &str, problems: &mut Vec<String>) {
    let mut say = |what: &str| problems.push(format!("{at}: {what}"));
    if let Some(word) =
        LEFT_OVER.iter().find(|w| line.split(|c: char| !c.is_alphanumeric()).any(|l| l == **w))
    {
        say(&format!("{word}: do it, or write down elsewhere that it is to be done"));
    }
    let trimmed = line.trim_start();
    if trimmed.starts_with("#[ignore") {
        say("a test that does not run tells nothing");
    }
    let is_test_code = file.starts_with("tests/it/") || file.starts_with("tests/src/");
    if is_test_code && line.contains("sleep(") && !file.ends_with("wait.rs") {
        say("a test waits for a condition (`wait::until`), not for time");
    }
    let ours = ["impl/core/src/", "impl/server/src/"].iter().find_map(|folder| file.strip_prefix(folder));
    if let Some(server) = ours.filter(|_| !trimmed.starts_with("//")) {
        let uses = line.contains("reqwest::") && !line.contains("reqwest::Url");
        if uses && !server.starts_with("gateways/") {
            say("outbound HTTP lives in gateways/");
        }
        if server.starts_with("api/") && (line.contains("diesel") || line.contains("sql_query")) {
            say("handlers hold no SQL");
        }
        if server.ends_with("/view.rs") && line.contains("RunQueryDsl") {
            say("views hold no SQL");
        }
    }
}

fn manifest(file: &str, text: &str, problems: &mut Vec<String>) {
    if file != "Cargo.toml" && !text.contains("[lints]\nworkspace = true") && !file.starts_with("generated/")
    {
        problems.push(format!("{file}: does not take the lints of the workspace"));
    }
    if PURE.contains(&file) {
        let dependencies =
            text.split("[dependencies]").nth(1).and_then(|t| t.split("\n[").next()).unwrap_or_default();
        for line in dependencies.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if IMPURE.contains(&name) {
                problems.push(format!("{file}: {name}: the rules know no clock, no database and no network"));
            }
        }
    }
}

struct Functions<'a> {
    file: &'a str,
    problems: &'a mut Vec<String>,
}

impl Functions<'_> {
    fn measure(&mut self, name: &syn::Ident, attributes: &[syn::Attribute], body: &syn::Block) {
        let is_test = |a: &syn::Attribute| a.path().segments.last().is_some_and(|s| s.ident == "test");
        let max = if attributes.iter().any(is_test) { TEST_LINES_MAX } else { FN_LINES_MAX };
        let span = body.span();
        let lines = span.end().line.saturating_sub(span.start().line) + 1;
        if lines > max {
            let at = name.span().start().line;
            self.problems.push(format!("{}:{at}: fn {name} has {lines} lines, at most {max}", self.file));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig.ident, &item.attrs, &item.block);
        syn::visit::visit_item_fn(self, item);
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig.ident, &item.attrs, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }
}

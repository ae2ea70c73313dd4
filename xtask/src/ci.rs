//! `cargo xtask ci`: every check there is, one after the other; all run, whichever fails before.
//!
//! The closing lines of the tests are the last thing printed.
use crate::{child, codegen, dev, judges, peers, pg, python, render, test, tidy};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Property-based tests of a running server against its own document.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// What the answers must hold to. What is sent is often wrong on purpose: a refusal is an answer like another.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,unsupported_method,allow_header_conformance";
/// Who calls: the operator reaches most operations, the others show what they are refused, and what is theirs alone.
const CALLERS: [(&str, &str); 3] = [("super_admin", "12"), ("tenant_admin", "6"), ("service", "6")];

pub fn ci(root: &Path) -> Result<()> {
    let mut steps = Steps::default();
    let cargo = |args: &[&str]| cargo(root, args);
    steps.run("format", || cargo(&["fmt", "--all", "--check"]));
    steps.run("codegen", || {
        if !has("java", "-version") {
            println!("SKIPPED: there is no Java here, and the generator needs it");
            return Ok(());
        }
        codegen::codegen(root, true)
    });
    steps.run("spec-lint", || crate::spec_lint(root));
    steps.run("spec", || crate::spec(root));
    steps.run("tidy", || tidy::tidy(root));
    steps.run("licences", || {
        if !has("cargo", "deny") {
            println!("SKIPPED: cargo-deny is not installed");
            return Ok(());
        }
        cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"])
    });
    steps.run("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]));
    let mut closing = Vec::new();
    steps.run("test", || {
        let outcome = test::test_and_keep(root)?;
        closing = outcome.closing;
        if outcome.passed { Ok(()) } else { bail!("tests failed") }
    });
    steps.run("judges", || judges::judges(root));
    steps.run("peers", || peers::peers(root));
    steps.run("renderer", || render::test(root));
    steps.run("main job", || script(root, "tests/main_job.sh"));
    steps.run("invoice job", || script(root, "tests/invoice_job.sh"));
    steps.run("year job", || script(root, "tests/year_job.sh"));
    steps.run("simulate", || simulate(root));
    steps.run("schemathesis", || schemathesis(root));
    steps.report();
    if child::is_interrupted() {
        bail!("interrupted");
    }
    for line in &closing {
        println!("{line}");
    }
    if steps.failed() {
        // The report above says what; the last lines are those of the tests.
        std::process::exit(1);
    }
    Ok(())
}

#[derive(Default)]
struct Steps(Vec<(&'static str, bool, Duration)>);

impl Steps {
    fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<()>) {
        if child::is_interrupted() {
            return;
        }
        println!("==> {name}");
        let begin = Instant::now();
        let done = step();
        if let Err(e) = &done {
            println!("error: {e:#}");
        }
        self.0.push((name, done.is_ok(), begin.elapsed()));
    }
    fn failed(&self) -> bool {
        self.0.iter().any(|(_, ok, _)| !ok)
    }
    fn report(&self) {
        println!("==> all checks");
        for (name, ok, time) in &self.0 {
            println!("{:<14} {:<6} {:>5} s", name, if *ok { "ok" } else { "FAILED" }, time.as_secs());
        }
    }
}

fn has(program: &str, ask: &str) -> bool {
    let mut command = Command::new(program);
    command.args([ask]).args((program == "cargo").then_some("--version"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

fn cargo(root: &Path, args: &[&str]) -> Result<()> {
    succeed(Command::new("cargo").args(args).current_dir(root))
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = child::run(command)?;
    if status.success() { Ok(()) } else { bail!("{command:?}: {status}") }
}

/// A job over HTTP alone, as a script.
fn script(root: &Path, name: &str) -> Result<()> {
    succeed(Command::new("bash").arg(root.join(name)).current_dir(root))
}

/// Lives of two years, over a leap day; shorter ones with more tenants; then some with a server that is killed. With
/// optimisations, without which they take several times as long.
pub fn simulate(root: &Path) -> Result<()> {
    pg::ensure_programs(root)?;
    let program = dev::build(root, true)?;
    let lives = |args: &[&str]| {
        succeed(Command::new(&program).args(["simulate", "--jobs", "2"]).args(args).current_dir(root))
    };
    lives(&["--seed", "1", "--seeds", "20", "--years", "2", "--tenants", "1"])?;
    lives(&["--seed", "51", "--seeds", "4", "--days", "60", "--tenants", "4"])?;
    lives(&["--seed", "101", "--seeds", "4", "--days", "240", "--tenants", "2", "--faults"])
}

pub fn schemathesis(root: &Path) -> Result<()> {
    let bin = python::environment(root, "schemathesis", &[SCHEMATHESIS])?;
    let server = DevServer::start(root)?;
    let mut failed = Vec::new();
    for (role, examples) in CALLERS {
        let token = server.text(&["tokens", role])?;
        let mut command = Command::new(bin.join("st"));
        command.args(["run", &format!("{}/openapi.json", server.base_url), "--url", &server.base_url]);
        command.args(["--header", &format!("Authorization: Bearer {token}"), "--checks", CHECKS]);
        // Bounded in number and in time, and the same cases in every run.
        command.args([
            "--max-examples",
            examples,
            "--phases",
            "examples,coverage,fuzzing",
            "--max-time",
            "75",
        ]);
        command.args(["--seed", "1", "--generation-database", "none", "--no-color", "--warnings", "off"]);
        command.args(["--continue-on-failure", "--suppress-health-check", "all", "--request-timeout", "20"]);
        println!("--> as {role}");
        if !child::run(command.stdin(Stdio::null()).current_dir(root.join("target")))?.success() {
            failed.push(role);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("as {}", failed.join(", ")) }
}

/// A development server with a fresh folder and a port of its own.
struct DevServer {
    base_url: String,
    about: Value,
    child: Child,
    dir: PathBuf,
}

impl DevServer {
    fn start(root: &Path) -> Result<DevServer> {
        pg::ensure_programs(root)?;
        let program = dev::build(root, false)?;
        let dir = pg::open_folder(root, &format!("dev-{}", std::process::id()))?;
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let data_dir = Some(dir.join("data"));
        let clock = "simulated".into();
        let options = dev::Options { port, data_dir, fresh: true, clock, ..dev::Options::default() };
        let log = std::fs::File::create(dir.join("log"))?;
        let mut command = dev::command(root, &program, &options);
        command.env(render::SETTING, render::build(root)?);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let Some(out) = child.stdout.take() else { bail!("the server has no output") };
        let mut server = DevServer { base_url: String::new(), about: Value::Null, child, dir };
        // The pipe ends when the server does, so this cannot wait for ever.
        let mut lines = BufReader::new(out).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("listening on "));
        if !ready {
            bail!(
                "the server does not start:\n{}",
                std::fs::read_to_string(server.dir.join("log")).unwrap_or_default()
            );
        }
        // Nobody reads on, and a full pipe would stop the server.
        std::thread::spawn(move || lines.for_each(drop));
        let file = server.dir.join("data/dev.json");
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("{} is not there", file.display()))?;
        server.about = serde_json::from_str(&text)?;
        server.base_url = server.text(&["base_url"])?;
        Ok(server)
    }

    /// Something that `dev.json` says.
    fn text(&self, path: &[&str]) -> Result<String> {
        let value = path.iter().fold(&self.about, |v, name| &v[*name]);
        value.as_str().map(str::to_owned).with_context(|| format!("dev.json has no {}", path.join(".")))
    }
}

impl Drop for DevServer {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

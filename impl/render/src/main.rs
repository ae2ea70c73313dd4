//! `scaicontrol-render`: reads one job in JSON from standard input and writes its PDF to standard output.
//!
//! Exit codes are those of [`Exit`]; when no PDF was written, standard error ends with one line that says why.
//! Libraries may print what they like: standard output is taken away from them while they work.

use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{dup, dup2_stdout};
use scaicontrol_render::one_line;
use scaicontrol_templates::job::{Exit, Job, Limits, MAX_JOB_BYTES};

/// Enough for the deepest page that the style engine takes.
const STACK_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("the renderer failed: {}", one_line(&panic.to_string()))
    }));
    match run() {
        Ok(()) => ExitCode::from(Exit::Done.code()),
        Err((exit, message)) => {
            eprintln!("{}", one_line(&message));
            ExitCode::from(exit.code())
        }
    }
}

fn run() -> Result<(), (Exit, String)> {
    let bad = |message: String| (Exit::BadJob, message);
    let job = read_job().map_err(bad)?;
    limit(job.limits).map_err(|error| bad(format!("limits cannot be set: {error}")))?;
    let mut output = take_stdout().map_err(|error| bad(format!("standard output: {error}")))?;
    let work = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || scaicontrol_render::render(&job))
        .map_err(|error| bad(format!("no thread: {error}")))?;
    let pdf = work
        .join()
        .map_err(|_| (Exit::Refused, "the page is more than the renderer can do".to_owned()))?
        .map_err(|error| (Exit::Refused, error.to_string()))?;
    output
        .write_all(&pdf)
        .and_then(|()| output.flush())
        .map_err(|error| bad(format!("standard output: {error}")))
}

fn read_job() -> Result<Job, String> {
    let mut json = Vec::new();
    let limit = u64::try_from(MAX_JOB_BYTES).unwrap_or(u64::MAX);
    std::io::stdin()
        .lock()
        .take(limit.saturating_add(1))
        .read_to_end(&mut json)
        .map_err(|error| format!("the job cannot be read: {error}"))?;
    if json.len() > MAX_JOB_BYTES {
        return Err("the job is too large".to_owned());
    }
    serde_json::from_slice(&json).map_err(|error| format!("the job cannot be read: {error}"))
}

fn limit(limits: Limits) -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds)?;
    // Not every system has a limit on address space.
    #[cfg(target_os = "linux")]
    setrlimit(Resource::RLIMIT_AS, limits.memory_bytes, limits.memory_bytes)?;
    Ok(())
}

/// Standard output for us alone: what others print goes to standard error from here on.
fn take_stdout() -> nix::Result<File> {
    let output = dup(std::io::stdout())?;
    dup2_stdout(std::io::stderr())?;
    Ok(File::from(output))
}

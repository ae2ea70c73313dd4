//! Programs that we start and wait for. A signal that asks us to end reaches the program that runs, and no other is
//! started after it; what we hold (a cluster, a folder) is given back on the way out.
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// Signals that ask a program to end.
pub const ENDING: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The program that runs now; 0: none.
static CURRENT: AtomicI32 = AtomicI32::new(0);

/// Whether we were asked to end.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Passes signals on from now until the process ends.
fn pass_signals() -> Result<()> {
    static PASSING: OnceLock<()> = OnceLock::new();
    if PASSING.get().is_some() {
        return Ok(());
    }
    let mut signals = signal_hook::iterator::Signals::new(ENDING)?;
    std::thread::spawn(move || {
        // Ctrl-C in a terminal reaches the whole foreground group, the child included; twice would mean "at once".
        let typed = std::io::stdin().is_terminal();
        for signal in signals.forever() {
            INTERRUPTED.store(true, Ordering::SeqCst);
            let child = CURRENT.load(Ordering::SeqCst);
            if let Ok(signal) = Signal::try_from(signal)
                && child != 0
                && !(typed && signal == Signal::SIGINT)
            {
                let _ = kill(Pid::from_raw(child), signal);
            }
        }
    });
    let _ = PASSING.set(());
    Ok(())
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Result<ExitStatus> {
    pass_signals()?;
    if is_interrupted() {
        bail!("interrupted");
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("{name} does not start"))?;
    CURRENT.store(child.id().cast_signed(), Ordering::SeqCst);
    if is_interrupted() {
        // It came between the question above and the start.
        let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
    }
    let status = child.wait();
    CURRENT.store(0, Ordering::SeqCst);
    Ok(status?)
}

/// Like [`run`], and answers what the program printed, which is shown as it comes.
pub fn run_and_keep(command: &mut Command) -> Result<(ExitStatus, Vec<String>)> {
    let (out_reader, out_writer) = std::io::pipe()?;
    let err_writer = out_writer.try_clone()?;
    command.stdin(Stdio::null()).stdout(out_writer).stderr(err_writer);
    let kept = Arc::new(Mutex::new(Vec::new()));
    let reading = std::thread::spawn({
        let kept = Arc::clone(&kept);
        move || keep(out_reader, &kept)
    });
    let status = run(command);
    // The command holds the writing ends of the pipe; without them the reader comes to its end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let _ = reading.join();
    let lines = std::mem::take(&mut *kept.lock().unwrap_or_else(|p| p.into_inner()));
    Ok((status?, lines))
}

fn keep(from: impl Read, into: &Mutex<Vec<String>>) {
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line).into_owned();
        let _ = writeln!(std::io::stdout(), "{line}");
        into.lock().unwrap_or_else(|p| p.into_inner()).push(line);
    }
}

//! Programs that we start and wait for: signals reach them, and what we hold is given back when they have ended.
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

/// Signals that ask a program to end.
pub const ENDING: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// Runs a program to its end, passing on every signal that asks us to end.
pub fn run(command: &mut Command) -> Result<ExitStatus> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut signals = signal_hook::iterator::Signals::new(ENDING)?;
    let mut child = command.spawn().with_context(|| format!("{name} does not start"))?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let handle = signals.handle();
    let passing = std::thread::spawn(move || {
        // Ctrl-C in a terminal reaches the whole foreground group, the child included; twice would mean "at once".
        let typed = std::io::stdin().is_terminal();
        for signal in signals.forever() {
            if let Ok(signal) = Signal::try_from(signal)
                && !(typed && signal == Signal::SIGINT)
            {
                let _ = kill(pid, signal);
            }
        }
    });
    let status = child.wait();
    handle.close();
    let _ = passing.join();
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

//! The tasks of this repository: `cargo xtask <task>`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]
mod bench;
mod bundle;
mod child;
mod ci;
mod client;
mod codegen;
mod dev;
mod judges;
mod lint;
mod peers;
mod pg;
mod prepare;
mod python;
mod render;
mod spec_table;
mod test;
mod tidy;

use anyhow::{Result, bail};
use std::path::Path;

const USAGE: &str = "usage: cargo xtask <task>
  dev [--port 8000] [--data-dir DIR] [--fresh] [--clock real|simulated] [--clock-from TIME] [--release|--debug]
                     builds and runs the development server, with a database of its own
  test [FILTER…]     the tests, with a database of their own; FILTER is a part of a test's name
  ci                 every check that CI makes
  judges             e-invoices of every case, judged by the official rules
  schemathesis       an outside judge of a running server, by its own document
  simulate           lives of a platform from several seeds, with what must hold after each day
  bench [NAME…] [--json FILE] [--quick] [--rounds N] [--stored N]
                     what the server can do, each beside a baseline of the same run; `pdf`: the renderer alone
  peers              the tests that need an S3 service and a mail server, which it starts
  tidy               the house rules
  pg                 a PostgreSQL for single tests, until Ctrl-C
  codegen [--check]  makes generated/ of api-spec/, or checks that it is what api-spec/ makes
  spec-lint          checks api-spec/ against the rules that the generators need
  spec               operations by group, built and planned";

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(root) = Path::new(env!("CARGO_MANIFEST_DIR")).parent() else { bail!("no parent of xtask/") };
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["codegen"] => codegen::codegen(root, false),
        ["codegen", "--check"] => codegen::codegen(root, true),
        ["dev", options @ ..] => dev::dev(root, options),
        ["test", filters @ ..] => test::test(root, filters),
        ["bench", options @ ..] => bench::bench(root, options),
        ["ci"] => ci::ci(root),
        ["judges"] => judges::judges(root),
        ["schemathesis"] => ci::schemathesis(root),
        ["simulate"] => ci::simulate(root),
        ["peers"] => peers::peers(root),
        ["tidy"] => tidy::tidy(root),
        ["pg"] => pg::serve(root),
        ["spec-lint"] => spec_lint(root),
        ["spec"] => spec(root),
        _ => bail!("{USAGE}"),
    }
}

fn spec_lint(root: &Path) -> Result<()> {
    let bundle = bundle::bundle(&root.join("api-spec"))?;
    let problems = lint::lint(&bundle);
    for p in &problems {
        println!("{p}");
    }
    if !problems.is_empty() {
        bail!("{} problems in api-spec/", problems.len());
    }
    println!("api-spec/: no problems");
    Ok(())
}

fn spec(root: &Path) -> Result<()> {
    let bundle = bundle::bundle(&root.join("api-spec"))?;
    let (text, wrong) = spec_table::table(&bundle);
    print!("{text}");
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    Ok(())
}

//! The program: see [`scaicontrol_server::cli`].
fn main() -> std::process::ExitCode {
    scaicontrol_server::cli::main()
}

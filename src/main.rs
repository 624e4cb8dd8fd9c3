//! Starts the command line, nothing else.

fn main() -> std::process::ExitCode {
    wellspring::cli::main()
}

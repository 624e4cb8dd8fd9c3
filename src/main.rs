//! Entry point of the command line.
//!
//! Invariant: contains no logic; everything is in the library.

/// Allocator that returns freed memory to the system.
///
/// The daemon processes up to 100,000 sources at once and is then idle for minutes. Its settings
/// are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    wellspring::cli::main()
}

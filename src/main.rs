//! Starts the command line, nothing else.

/// It gives memory back: a daemon looks at a hundred thousand sources at once, and then at none for
/// minutes. How it does so stands in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    wellspring::cli::main()
}

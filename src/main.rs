//! Starts the command line, nothing else.

/// It gives memory back: a daemon looks at a hundred thousand sources at once, and then at none for
/// minutes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    wellspring::cli::main()
}

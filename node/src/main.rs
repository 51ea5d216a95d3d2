//! The stock program: Abide with its demo entities.

use std::process::ExitCode;

/// Many small allocations on two kinds of threads is what a node does all day.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    abide::main(abide::demo::register)
}

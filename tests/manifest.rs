//! The files people write, and what is said about them.

mod manifest {
    pub mod cases;
    pub mod mutations;
}

//! An approved plan to an outcome: a dull loop.

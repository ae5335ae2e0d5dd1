//! What the driver of a chaos run and its workers have in common: orders, moments within a step, and the kinds of work.

pub mod orders;
pub mod work;

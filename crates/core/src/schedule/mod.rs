//! Schedules.
/// A schedule.
#[derive(Clone,Debug)] pub enum Schedule {}

//! Zones.
/// A zone.
#[derive(Clone,Debug)] pub struct Zone;

//! Which release of the zone data a comparison uses.

use punctual_core::Zone;

/// A source of zones.
#[derive(Clone, Copy, Debug)]
pub(super) enum Zones {
    /// What our nodes use.
    Bundled,
    /// The release that the oracle was asked with, from a crate that is pinned to it.
    Oracle,
}

impl Zones {
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Bundled => Zone::data_version(),
            Self::Oracle => tzdb_data::VERSION,
        }
    }

    pub(super) fn get(self, name: &str) -> Result<Zone, String> {
        match self {
            Self::Bundled => Zone::get(name).map_err(|error| error.to_string()),
            Self::Oracle => {
                let data = tzdb_data::find_raw(name.as_bytes());
                let data = data.ok_or_else(|| format!("{} has no zone {name}", tzdb_data::VERSION))?;
                Zone::from_tzif(name, data).map_err(|error| error.to_string())
            }
        }
    }
}

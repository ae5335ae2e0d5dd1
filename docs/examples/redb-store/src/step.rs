//! A step under way: the tables of its write transaction, and the store's clock.

use punctual_core::Timestamp;
use redb::ReadableTable;

use crate::tables::Tables;
use crate::trouble::Tried;

/// One step of the contract. Nothing else is written while it runs.
pub(crate) struct Step<'t> {
    pub(crate) tables: Tables<'t>,
    /// The store's clock, read when nothing could block any more.
    pub(crate) now: Timestamp,
    keep: bool,
    news: bool,
}

impl<'t> Step<'t> {
    pub(crate) const fn new(tables: Tables<'t>, now: Timestamp) -> Self {
        Self { tables, now, keep: true, news: false }
    }

    /// Gives up what was written: the step has lost, and its answer says so.
    pub(crate) const fn forget(&mut self) {
        self.keep = false;
    }

    /// Says that there may be work once this has been committed.
    pub(crate) const fn tell(&mut self) {
        self.news = true;
    }

    /// Whether to commit, and whether that is news.
    pub(crate) fn close(self) -> (bool, bool) {
        (self.keep, self.news)
    }

    pub(crate) const fn now_us(&self) -> i64 {
        self.now.as_micros()
    }

    /// A number of the store as a whole; 0 before it was written.
    pub(crate) fn number(&self, name: &str) -> Tried<i64> {
        Ok(self.tables.meta.get(name)?.map_or(0, |number| number.value()))
    }

    pub(crate) fn set_number(&mut self, name: &str, number: i64) -> Tried<()> {
        self.tables.meta.insert(name, number)?;
        Ok(())
    }
}

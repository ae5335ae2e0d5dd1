//! The calendars that were read last, so that a document which many due triggers bring along is parsed once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Decoded, parsed};
use crate::calendar::Calendar;

/// How many are kept. A document is not longer than its calendar may be, so this bounds the memory too.
const KEPT: usize = 16;

/// Newest first. The text is the key: no revision and no name, which two databases of one process may share.
struct Recent(Mutex<VecDeque<(Box<str>, Arc<Calendar>)>>);

static RECENT: Recent = Recent::new();

/// The calendar of a document.
pub(super) fn read(text: &str) -> Decoded<Arc<Calendar>> {
    RECENT.read(text)
}

impl Recent {
    const fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    fn read(&self, text: &str) -> Decoded<Arc<Calendar>> {
        if let Some(calendar) = self.find(text) {
            return Ok(calendar);
        }
        let calendar = Arc::new(parsed::<Calendar>("calendar.document", text)?);
        let mut entries = self.entries();
        // Another thread may have read it meanwhile: then it is there twice for a while.
        entries.truncate(KEPT - 1);
        entries.push_front((text.into(), Arc::clone(&calendar)));
        Ok(calendar)
    }

    fn find(&self, text: &str) -> Option<Arc<Calendar>> {
        let mut entries = self.entries();
        let place = entries.iter().position(|(document, _)| **document == *text)?;
        let found = entries.remove(place)?;
        let calendar = Arc::clone(&found.1);
        entries.push_front(found);
        Some(calendar)
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<(Box<str>, Arc<Calendar>)>> {
        // Whoever panicked under the lock has left whole entries behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Calendar;
    use crate::record::document;
    use crate::zone::Zone;

    fn on(day: u8) -> String {
        document(&Calendar::monthly([day], Zone::utc()).unwrap()).unwrap()
    }

    #[test]
    fn a_document_is_parsed_once_and_forgotten_after_many_others() {
        let recent = Recent::new();
        let first = recent.read(&on(1)).unwrap();
        for day in 2..=25 {
            let once = recent.read(&on(day)).unwrap();
            assert!(Arc::ptr_eq(&once, &recent.read(&on(day)).unwrap()));
            assert_eq!(*once, Calendar::monthly([day], Zone::utc()).unwrap());
            // What is asked for again and again stays, as long as it is.
            assert!(day > 12 || Arc::ptr_eq(&first, &recent.read(&on(1)).unwrap()));
        }
        assert_eq!(recent.entries().len(), KEPT);
        assert!(recent.find(&on(1)).is_some(), "12 others came since");
        for day in 2..=30 {
            recent.read(&on(day)).unwrap();
        }
        let again = recent.read(&on(1)).unwrap();
        assert!(!Arc::ptr_eq(&first, &again) && first == again);
    }

    #[test]
    fn what_cannot_be_understood_is_never_kept() {
        let recent = Recent::new();
        for _ in 0..2 {
            assert_eq!(recent.read("{}").unwrap_err().column, "calendar.document");
        }
        assert!(recent.entries().is_empty());
    }
}

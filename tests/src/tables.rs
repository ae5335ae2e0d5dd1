//! The final tables of a run, as the checker takes them.

use punctual::JobStore;
use punctual::core::Result;
use punctual::core::inspect::{ExecutionFilter, HistoryFilter, MAX_PAGE, Page};
use punctual::core::store::Readable;
use punctual_checker::Tables;

/// Reads all of them.
///
/// # Errors
/// Those of the store; `Corrupt` if a live row cannot be understood.
pub async fn tables(store: &dyn JobStore) -> Result<Tables> {
    let inspect = store.inspect();
    let mut live = Vec::new();
    for row in inspect.executions(ExecutionFilter { limit: MAX_PAGE, ..ExecutionFilter::default() }).await? {
        match row {
            Readable::Row(row) => live.push(row),
            Readable::Poison(poison) => {
                return Err(punctual::core::Error::corrupt("tables", poison.reason));
            }
        }
    }
    let mut history: Vec<punctual::core::execution::HistoryRecord> = Vec::new();
    loop {
        let before = history.last().map(|record| record.id);
        let page = inspect.history(HistoryFilter { before, ..HistoryFilter::default() }).await?;
        if page.is_empty() {
            break;
        }
        history.extend(page);
    }
    Ok(Tables {
        triggers: inspect.triggers(Page::first(MAX_PAGE)).await?,
        jobs: inspect.jobs(Page::first(MAX_PAGE)).await?,
        history,
        live,
        nodes: inspect.nodes().await?,
        calendars: inspect.calendars().await?,
    })
}

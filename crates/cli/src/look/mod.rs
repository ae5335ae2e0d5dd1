//! The commands that look: `next` computes, the others read a database without making or changing it.

mod history;
mod list;
mod next;
mod nodes;
mod show;
pub(crate) mod text;

use std::io::Write;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use punctual::{Error, JobKey, Schedule};
use punctual_core::Inspect;
use punctual_core::inspect::{MAX_PAGE, Page};
use punctual_core::job::{JobRecord, Payload};

pub(crate) use self::history::{bad_key, history};
pub(crate) use self::list::list;
pub(crate) use self::next::next;
pub(crate) use self::nodes::nodes;
pub(crate) use self::show::show;
use crate::job::{CommandJob, HttpJob, Program};
use crate::trouble::{Exit, Trouble, nearest};

/// Prints a text. Nobody is told if the reader has gone, for it went by itself: `punctual list | head`.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}

fn print_json(value: &serde_json::Value) {
    print(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Columns without lines between them; columns that are numbers are named in `right`.
pub(crate) fn columns(head: &[&str], right: &[usize], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.to_vec());
    for row in rows {
        // A name with a line break or a control character must not break the table.
        table.add_row(row.iter().map(|cell| cell.replace(|c: char| c.is_control(), " ")).collect::<Vec<_>>());
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// All jobs, in pages.
async fn all_jobs(inspect: &dyn Inspect, group: Option<&str>) -> Result<Vec<JobRecord>, Error> {
    let mut page = Page { group: group.map(Into::into), after: None, limit: MAX_PAGE };
    let mut all = Vec::new();
    loop {
        let jobs = inspect.jobs(page.clone()).await?;
        let full = jobs.len() >= usize::try_from(MAX_PAGE).unwrap_or(usize::MAX);
        page.after = jobs.last().map(|job| job.key.clone());
        all.extend(jobs);
        if !full {
            return Ok(all);
        }
    }
}

/// Nothing has the key: says so, with the nearest one that there is.
pub(crate) async fn not_found(inspect: &dyn Inspect, what: &str, key: &str) -> Trouble {
    let trouble = Trouble::new(Exit::NotFound, format!("there is no {what} `{key}`"));
    let Ok(jobs) = all_jobs(inspect, None).await else { return trouble };
    let keys: Vec<String> = jobs.iter().map(|job| job.key.to_string()).collect();
    let wanted = key.parse::<JobKey>().map_or_else(|_| key.to_owned(), |key| key.to_string());
    match nearest(&wanted, keys.iter().map(String::as_str)) {
        Some(near) => trouble.hint(format!("did you mean `{near}`?")),
        None if keys.is_empty() => trouble.hint("there are no jobs in this database; is it the right one?"),
        None => trouble.hint("`punctual list` shows what there is"),
    }
}

/// A schedule in few words.
fn when(schedule: &Schedule) -> String {
    match schedule {
        Schedule::Cron(cron) => format!("{} {}", cron.expression(), cron.zone()),
        other => other.to_string(),
    }
}

/// What a job runs, in few words.
fn what(job: &JobRecord) -> String {
    runs(job.kind.as_str(), &job.payload).unwrap_or_else(|| format!("{} {:?}", job.kind, job.payload))
}

fn runs(kind: &str, payload: &Payload) -> Option<String> {
    use punctual::Job;

    if kind == CommandJob::KIND {
        let job: CommandJob = serde_json::from_slice(&payload.data).ok()?;
        return Some(match job.run {
            Program::Argv(argv) => argv.join(" "),
            Program::Shell(line) => format!("sh -c {line:?}"),
        });
    }
    if kind == HttpJob::KIND {
        let job: HttpJob = serde_json::from_slice(&payload.data).ok()?;
        return Some(format!("{} {}", job.method, job.url));
    }
    None
}

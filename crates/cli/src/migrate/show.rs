//! What `punctual migrate` says, for people and for programs.

use punctual_core::migrate::{Damage, Drift, MigrationOutcome, MigrationRow, Repair, Standing};
use serde_json::{Value, json};

use super::outcome_code;
use crate::look::{columns, text};

/// The exit codes, as `--help` and `docs/migrations.md` list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Code {
    Current = 0,
    Pending = 2,
    NewerCompatible = 3,
    NewerBreaking = 4,
    Drift = 5,
    LockTimeout = 6,
}

/// An answer.
pub(super) struct Told {
    pub(super) code: Code,
    pub(super) text: String,
    pub(super) json: Value,
}

fn code_of(standing: &Standing<'_>) -> Code {
    match standing {
        Standing::Current => Code::Current,
        Standing::Pending(_) => Code::Pending,
        Standing::NewerCompatible { .. } => Code::NewerCompatible,
        Standing::NewerBreaking { .. } => Code::NewerBreaking,
        Standing::Damaged(_) => Code::Drift,
    }
}

fn word(standing: &Standing<'_>) -> &'static str {
    match standing {
        Standing::Current => "current",
        Standing::Pending(_) => "pending",
        Standing::NewerCompatible { .. } => "newer, compatible",
        Standing::NewerBreaking { .. } => "newer, breaking",
        Standing::Damaged(_) => "damaged",
    }
}

/// One sentence about where the database stands.
fn sentence(version: i64, newest: i64, standing: &Standing<'_>) -> String {
    match standing {
        Standing::Current => {
            format!("The schema is at version {version}, the newest that this binary knows.")
        }
        Standing::Pending([first, ..]) if first.version <= version => format!(
            "Migration {} ({}) was begun and has not ended: it is at work, or its process died. `punctual migrate \
             apply` waits for the one and goes on from the other; {} of {newest} migrations are to be done.",
            first.version,
            first.name,
            newest - first.version + 1
        ),
        Standing::Pending(pending) => format!(
            "The schema is at version {version}; {} of {newest} migrations are pending. Run `punctual migrate apply`.",
            pending.len()
        ),
        Standing::NewerCompatible { version } => {
            format!("The schema is at version {version}; this binary knows {newest}, and may work with it.")
        }
        Standing::NewerBreaking { version, min_writer, binary } => format!(
            "The schema is at version {version}, written by Punctual {binary}. It asks for a binary that knows version \
             {min_writer}; this one knows {newest}. Use a newer version of Punctual."
        ),
        Standing::Damaged(damage) => {
            let list: String = damage.iter().map(|one| format!("\n  {one}")).collect();
            format!(
                "The history contradicts itself:{list}\nLook at `punctual migrate repair`, which shows its plan first."
            )
        }
    }
}

fn damages(damage: &[Damage]) -> Vec<String> {
    damage.iter().map(ToString::to_string).collect()
}

fn object(version: i64, newest: i64, standing: &Standing<'_>) -> Value {
    // What was begun is not done.
    let version = match standing {
        Standing::Pending([first, ..]) => version.min(first.version - 1),
        _ => version,
    };
    let pending: Vec<Value> = match standing {
        Standing::Pending(pending) => pending
            .iter()
            .map(|one| {
                let steps: Vec<&str> = one.steps.iter().map(|step| &*step.name).collect();
                json!({"version": one.version, "name": one.name, "online": one.online, "contracts": one.contracts,
                       "steps": steps})
            })
            .collect(),
        _ => Vec::new(),
    };
    let damage = match standing {
        Standing::Damaged(damage) => damages(damage),
        _ => Vec::new(),
    };
    json!({"version": version, "newest": newest, "standing": word(standing), "pending": pending, "damage": damage})
}

pub(super) fn status(version: i64, newest: i64, standing: &Standing<'_>, history: &[MigrationRow]) -> Told {
    let rows = history.iter().map(|row| {
        vec![
            row.version.to_string(),
            row.name.to_string(),
            row.state.as_str().to_owned(),
            text::instant(row.started),
            row.finished.map(|finished| text::span(finished.since(row.started))).unwrap_or_default(),
            row.binary.to_string(),
        ]
    });
    let table = columns(&["VERSION", "NAME", "STATE", "BEGUN", "TOOK", "BINARY"], &[0, 4], rows);
    let mut object = object(version, newest, standing);
    object["history"] = history
        .iter()
        .map(|row| {
            json!({"version": row.version, "name": row.name, "state": row.state.as_str(),
                   "checksum": format!("{:016x}", row.checksum), "started": text::instant(row.started),
                   "finished": row.finished.map(text::instant), "binary": row.binary,
                   "min_reader": row.min_reader, "min_writer": row.min_writer})
        })
        .collect();
    let head = sentence(version, newest, standing);
    let text = if history.is_empty() { head } else { format!("{head}\n\n{table}") };
    Told { code: code_of(standing), text, json: object }
}

/// `statement` gives the text of a statement as the database gets it.
pub(super) fn plan(
    version: i64,
    newest: i64,
    standing: &Standing<'_>,
    statement: impl Fn(&str) -> String,
) -> Told {
    let mut text = sentence(version, newest, standing);
    if let Standing::Pending(pending) = standing {
        for migration in *pending {
            text.push_str(&format!("\n\n{} {}", migration.version, migration.name));
            if migration.online {
                text.push_str("\n  outside of transactions, while others work");
            }
            if let Some(binary) = &migration.contracts {
                text.push_str(&format!(
                    "\n  only when every node that is up is at least of version {binary}"
                ));
            }
            for (at, step) in (1..).zip(&migration.steps) {
                let sql = statement(&step.sql);
                let first = sql.lines().find(|line| !line.starts_with("--")).unwrap_or_default();
                text.push_str(&format!("\n  {at:>3}  {:<24} {}", step.name, text::cut(first.trim(), 80)));
            }
        }
    }
    Told { code: code_of(standing), text, json: object(version, newest, standing) }
}

pub(super) fn applied(outcome: MigrationOutcome, rehearsed: bool) -> Told {
    let code = outcome_code(&outcome);
    match outcome {
        MigrationOutcome::Ready(migrated) => {
            let list: Vec<String> = migrated.applied.iter().map(ToString::to_string).collect();
            let what = match (list.is_empty(), rehearsed) {
                (true, _) => format!("Nothing to do: the schema is at version {}.", migrated.version),
                (false, true) => {
                    format!("It would go well: {} would be applied. Nothing was changed.", list.join(", "))
                }
                (false, false) => {
                    format!("Applied {}; the schema is at version {}.", list.join(", "), migrated.version)
                }
            };
            let held = migrated.held_back.map_or_else(String::new, |version| {
                format!("\nMigration {version} waits for nodes of older versions to end; apply again then.")
            });
            let json = json!({"version": migrated.version, "applied": migrated.applied, "rehearsed": rehearsed,
                              "held_back": migrated.held_back});
            Told { code, text: what + &held, json }
        }
        other => ended(other),
    }
}

/// A run that ended without doing what it was for.
pub(super) fn ended(outcome: MigrationOutcome) -> Told {
    let code = outcome_code(&outcome);
    let damage = match &outcome {
        MigrationOutcome::Damaged(damage) => damages(damage),
        _ => Vec::new(),
    };
    let why = outcome.ready().map_or_else(|error| error.message().to_owned(), |_| String::new());
    Told { code, json: json!({"applied": [], "error": why, "damage": damage}), text: why }
}

pub(super) fn validated(version: i64, newest: i64, standing: &Standing<'_>, drift: Option<&Drift>) -> Told {
    let mut json = object(version, newest, standing);
    let mut text = sentence(version, newest, standing);
    let mut code = code_of(standing);
    if let Some(drift) = drift {
        json["missing"] = json!(drift.missing);
        json["extra"] = json!(drift.extra);
        if drift.is_harmless() {
            text.push_str("\nTables, columns and indexes are as they should be.");
        } else {
            code = Code::Drift;
            text.push_str("\nThe schema has not the shape that it should have:");
        }
        if !drift.is_harmless() || !drift.extra.is_empty() {
            text.push_str(&format!("\n{drift}"));
        }
    }
    Told { code, text, json }
}

pub(super) fn sound(version: i64) -> Told {
    let text = format!("There is nothing to mend: the history up to version {version} is sound.");
    Told {
        code: Code::Current,
        text,
        json: json!({"version": version, "plan": [], "left": [], "done": false}),
    }
}

pub(super) fn repaired(
    damage: &[Damage],
    plan: &[Repair],
    left: &[Damage],
    drift: Option<&Drift>,
    done: bool,
) -> Told {
    let lines = |list: Vec<String>| list.iter().map(|line| format!("\n  {line}")).collect::<String>();
    let steps: Vec<String> = plan.iter().map(ToString::to_string).collect();
    let mut text = format!("Found:{}\nPlan:{}", lines(damages(damage)), lines(steps.clone()));
    if !left.is_empty() {
        text.push_str(&format!("\nNot to be mended by this command:{}", lines(damages(left))));
        if let Some(drift) = drift.filter(|drift| !drift.is_harmless()) {
            text.push_str(&format!("\nbecause the schema has not the shape that would prove it:\n{drift}"));
        }
    }
    text.push_str(match (done, left.is_empty()) {
        (true, _) => "\nDone; each of it is noted in the table migration_run.",
        (false, true) => "\nNothing was changed. Do it with --yes.",
        (false, false) => "\nNothing was changed. Restore the database from a backup.",
    });
    let json = json!({"damage": damages(damage), "plan": steps, "left": damages(left), "done": done});
    Told { code: if done { Code::Current } else { Code::Drift }, text, json }
}

pub(super) fn based(version: i64) -> Told {
    let text = format!("The tables are those of version {version}, and are now known as such.");
    Told { code: Code::Current, text, json: json!({"version": version}) }
}

//! What SQLite says that it would do, read from `EXPLAIN QUERY PLAN`.

use std::collections::{BTreeMap, BTreeSet};

use punctual_conformance::Plan;
use rusqlite::{Connection, params_from_iter, types::Null};

/// The plan of each statement, with figures about the tables as they are now.
pub(crate) fn plans(file: &Connection, statements: &[String]) -> rusqlite::Result<Vec<Plan>> {
    file.execute_batch("ANALYZE")?;
    let mut names = file.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let tables: BTreeSet<String> = names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    statements.iter().map(|sql| plan(file, &tables, sql)).collect()
}

fn plan(file: &Connection, tables: &BTreeSet<String>, sql: &str) -> rusqlite::Result<Plan> {
    let mut statement = file.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let nothing = vec![Null; statement.parameter_count()];
    let rows = statement.query_map(params_from_iter(nothing), |row| row.get::<_, String>(3))?;
    let lines: Vec<String> = rows.collect::<rusqlite::Result<_>>()?;
    let known = aliases(tables, sql);
    let mut plan = Plan { text: lines.join("\n"), ..Plan::default() };
    for line in &lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let table = words.get(1).and_then(|name| known.get(*name));
        match (words.first(), table) {
            (Some(&"SCAN"), Some(table)) => plan.scans.push(table.clone()),
            (Some(&"SEARCH"), Some(_)) => {
                plan.indexes.extend(line.split_once(" USING ").map(|(_, index)| index.to_owned()));
            }
            _ => {}
        }
    }
    Ok(plan)
}

/// The tables that a statement names, by the names that it gives them.
fn aliases(tables: &BTreeSet<String>, sql: &str) -> BTreeMap<String, String> {
    let words: Vec<&str> =
        sql.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    let mut known = BTreeMap::new();
    for (n, word) in words.iter().enumerate().filter(|(_, word)| tables.contains(**word)) {
        known.insert((*word).to_owned(), (*word).to_owned());
        if let Some(alias) =
            words.get(n + 1).filter(|next| next.chars().all(|c| c.is_lowercase() || c == '_'))
        {
            known.insert((*alias).to_owned(), (*word).to_owned());
        }
    }
    known
}

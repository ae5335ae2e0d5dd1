//! What Postgres says that it would do, read from its `EXPLAIN`.

use punctual_conformance::Plan;

/// Tables that grow, or whose size decides plans.
pub(crate) const TABLES: [&str; 7] = ["job", "trigger", "execution", "history", "slot", "node", "mark"];

/// Reads a plan line by line. An index that is gone through from end to end counts as a scan of its table.
pub(crate) fn read(lines: &[String]) -> Plan {
    let mut plan = Plan { text: lines.join("\n"), ..Plan::default() };
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim().trim_start_matches("->").trim();
        let word = |rest: &str| rest.split_whitespace().next().unwrap_or_default().to_owned();
        let has_condition =
            lines.get(at + 1).is_some_and(|next| next.trim_start().starts_with("Index Cond:"));
        if let Some((_, table)) = line.split_once("Seq Scan on ") {
            plan.scans.push(word(table));
        } else if let Some((_, rest)) = line.split_once(" using ").filter(|(scan, _)| scan.contains("Index")) {
            plan.indexes.push(word(rest));
            if !has_condition {
                plan.scans.extend(rest.split_once(" on ").map(|(_, table)| word(table)));
            }
        } else if let Some(index) = line.strip_prefix("Bitmap Index Scan on ") {
            plan.indexes.push(word(index));
            if !has_condition {
                plan.scans.push(word(index));
            }
        }
    }
    plan
}

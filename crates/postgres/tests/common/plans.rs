//! What Postgres says that it would do, read from its `EXPLAIN`.

use punctual_conformance::Plan;

/// Tables that grow, or whose size decides plans.
pub(crate) const TABLES: [&str; 7] = ["job", "trigger", "execution", "history", "slot", "node", "mark"];

/// Reads a plan line by line. An index that is gone through from end to end counts as a scan of its table.
pub(crate) fn read(lines: &[String]) -> Plan {
    let mut plan = Plan { text: lines.join("\n"), ..Plan::default() };
    let lines: Vec<&str> = lines.iter().map(|line| line.trim().trim_start_matches("->").trim()).collect();
    for (at, line) in lines.iter().enumerate() {
        let word = |rest: &str| rest.split_whitespace().next().unwrap_or_default().to_owned();
        // Conditions stand below what they belong to. Without one, only the first entry is wanted if that is all that goes up.
        let has = |kind: &str| lines.get(at + 1).is_some_and(|next| next.starts_with(kind));
        let takes_the_first = at > 0 && lines[at - 1] == "Limit" && !has("Filter:");
        let is_bounded = has("Index Cond:") || takes_the_first;
        if let Some((_, table)) = line.split_once("Seq Scan on ") {
            plan.scans.push(word(table));
        } else if let Some((_, rest)) = line.split_once(" using ").filter(|(scan, _)| scan.contains("Index"))
        {
            plan.indexes.push(word(rest));
            let table = rest.split_once(" on ").map(|(_, table)| word(table));
            plan.scans.extend(table.filter(|_| !is_bounded));
        } else if let Some(index) = line.strip_prefix("Bitmap Index Scan on ") {
            plan.indexes.push(word(index));
            plan.scans.extend(Some(word(index)).filter(|_| !is_bounded));
        }
    }
    plan
}

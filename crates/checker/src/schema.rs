//! Each migration was applied once, and none was left out (G13).

use std::collections::BTreeMap;

use crate::verdict::{Rule, Verdict};

/// Judges the versions that the history of migrations names, which begin with 1.
pub(crate) fn judge(versions: &[i64], verdict: &mut Verdict) {
    let mut applied: BTreeMap<i64, u64> = BTreeMap::new();
    for version in versions {
        *applied.entry(*version).or_default() += 1;
    }
    for (version, times) in applied.iter().filter(|(_, times)| **times > 1) {
        let text = format!("migration {version} was applied {times} times");
        verdict.broke(Rule::MigratedTwice, times - 1, text, Vec::new);
    }
    let newest = applied.keys().next_back().copied().unwrap_or(0);
    for missing in (1..newest).filter(|version| !applied.contains_key(version)) {
        let text = format!("migration {missing} was left out, though {newest} was applied");
        verdict.broke(Rule::MigrationMissing, 1, text, Vec::new);
    }
}

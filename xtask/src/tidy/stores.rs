//! Rules about the SQL stores: the same statements under the same names, and no knowledge of codes.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, Tree};

/// The SQL stores. Each has its statements in `src/sql.rs` and `src/sql/`.
const STORES: [&str; 3] = ["crates/sqlite/", "crates/postgres/", "crates/mysql/"];

/// What is stored as a number: only core's `record.rs` may know which number means what.
const CODED: [&str; 7] = [
    "TriggerState",
    "ExecutionState",
    "Outcome",
    "SkipReason",
    "NodeState",
    "AttemptOutcome",
    "MigrationState",
];

/// A statement has one name in all stores. What only one database needs stands in its `sql/own.rs`, or below it.
pub(super) fn same_statements(tree: &Tree) -> Vec<String> {
    let mut stores: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in tree.rust() {
        let Some((store, place)) = in_store(file) else { continue };
        let shared = place == "src/sql.rs" || place.starts_with("src/sql/");
        let own = place.ends_with("/own.rs") || place.contains("/own/");
        if shared && !own && !place.ends_with("/tests.rs") {
            stores.entry(store).or_default().extend(statements(&file.text));
        }
    }
    let all: BTreeSet<&str> = stores.values().flatten().copied().collect();
    let missing = |(store, names): (&&str, &BTreeSet<&str>)| {
        all.difference(names).map(|name| format!("{store}src/sql.rs has no {name}")).collect::<Vec<_>>()
    };
    stores.iter().flat_map(missing).collect()
}

/// Stores write and read codes without knowing them.
pub(super) fn codes_in_record(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for file in tree.rust() {
        let Some((_, place)) = in_store(file) else { continue };
        if !place.starts_with("src/") || place.ends_with("tests.rs") {
            continue;
        }
        for (number, line) in (1..).zip(file.text.lines()) {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(name) = CODED.iter().find(|name| names_variant(code, name)) {
                found.push(format!("{}:{number} names a variant of {name}", file.path));
            }
        }
    }
    found
}

fn in_store(file: &File) -> Option<(&'static str, &str)> {
    STORES.iter().find_map(|store| Some((*store, file.path.strip_prefix(store)?)))
}

/// The names of constants that hold a statement.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("pub(crate) const ")?.split_once(": ")?;
        rest.starts_with("&str").then_some(name)
    })
}

/// Whether code speaks of a variant of exactly this type.
fn names_variant(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, found)| {
        let before = code[..at].chars().next_back();
        let after = code[at + found.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_uppercase)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_one_store_lacks_is_named() {
        let tree = Tree::of(&[
            ("crates/sqlite/src/sql.rs", "pub(crate) const NOW: &str = \"\";\npub(crate) const A: &str =\n"),
            (
                "crates/postgres/src/sql.rs",
                "pub(crate) const NOW: &str = \"\";\npub(crate) const N: usize = 1;",
            ),
            ("crates/postgres/src/sql/listings.rs", "pub(crate) const B: &str = \"\";"),
            ("crates/postgres/src/sql/own.rs", "pub(crate) const LISTEN: &str = \"\";"),
            ("crates/postgres/src/sql/own/notify.rs", "pub(crate) const NOTIFY: &str = \"\";"),
        ]);
        let expected = ["crates/postgres/src/sql.rs has no A", "crates/sqlite/src/sql.rs has no B"];
        assert_eq!(same_statements(&tree), expected);
    }

    #[test]
    fn a_store_that_knows_a_code_is_named() {
        let tree = Tree::of(&[
            ("crates/mysql/src/store.rs", "match x {\n    TriggerState::Active => 1,\n}"),
            ("crates/mysql/src/other.rs", "// ExecutionState::Ready\nSettleOutcome::Done; Outcome::of(x)"),
            ("crates/mysql/tests/it/main.rs", "NodeState::Up"),
            ("crates/core/src/record.rs", "TriggerState::Active => 1"),
        ]);
        assert_eq!(codes_in_record(&tree), ["crates/mysql/src/store.rs:2 names a variant of TriggerState"]);
    }
}

//! Rules about which files there are, and how they hang together.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, Tree};
use crate::{contract, evidence, shell};

/// The command that README.md gives and .ci/run runs.
const TEST_COMMAND: &str = "cargo xtask test";

pub(super) fn lints(tree: &Tree) -> Vec<String> {
    let manifests = tree
        .with_ending(&["Cargo.toml"])
        .filter(|file| file.text.contains("\n[package]") || file.text.starts_with("[package]"));
    let inherits = |file: &File| {
        let table = file.text.split("\n[").find_map(|table| table.strip_prefix("lints]"));
        table.is_some_and(|table| table.lines().any(|line| line.replace(' ', "") == "workspace=true"))
    };
    manifests.filter(|file| !inherits(file)).map(|file| file.path.clone()).collect()
}

pub(super) fn migrations(tree: &Tree) -> Vec<String> {
    let mut databases: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in tree.with_ending(&[".sql"]) {
        if let Some((database, name)) =
            file.path.strip_prefix("migrations/").and_then(|path| path.split_once('/'))
        {
            databases.entry(database).or_default().insert(name);
        }
    }
    let carried = tree.file("migrations/src/lib.rs").map_or("", |file| file.text.as_str());
    let all: BTreeSet<&str> = databases.values().flatten().copied().collect();
    let mut found = Vec::new();
    for (number, name) in (1..).zip(&all) {
        if !name.starts_with(&format!("{number:04}_")) {
            found.push(format!("migrations/*/{name} is not number {number:04}"));
        }
    }
    for (database, names) in &databases {
        found.extend(all.difference(names).map(|name| format!("migrations/{database}/{name} is missing")));
        let unknown = names.iter().filter(|name| !carried.contains(&format!("{database}/{name}")));
        found.extend(unknown.map(|name| format!("migrations/{database}/{name} is in no list")));
    }
    found
}

pub(super) fn lock_file(tree: &Tree) -> Vec<String> {
    let there = match tree.tracked {
        true => {
            let mut git = std::process::Command::new("git");
            git.args(["ls-files", "--error-unmatch", "Cargo.lock"]).current_dir(shell::root());
            shell::capture(&mut git).is_ok()
        }
        false => tree.file("Cargo.lock").is_some(),
    };
    if there { Vec::new() } else { vec!["Cargo.lock is not tracked".to_owned()] }
}

pub(super) fn front_door(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for path in ["README.md", ".ci/run"] {
        if tree.file(path).is_none_or(|file| !file.text.contains(TEST_COMMAND)) {
            found.push(format!("{path} does not name `{TEST_COMMAND}`"));
        }
    }
    if !is_executable(".ci/run") {
        found.push(".ci/run is not executable".to_owned());
    }
    found
}

#[cfg(unix)]
fn is_executable(path: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(shell::root().join(path)).is_ok_and(|known| known.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &str) -> bool {
    true
}

pub(super) fn contract(tree: &Tree) -> Vec<String> {
    let files = tree.files.iter().map(|file| (file.path.as_str(), file.text.as_str()));
    let written = tree.file(contract::CHAPTER).map_or("", |file| file.text.as_str());
    let is_stale = written != contract::chapter(files);
    if is_stale { vec![format!("{} is not what the cases say", contract::CHAPTER)] } else { Vec::new() }
}

pub(super) fn evidence(tree: &Tree) -> Vec<String> {
    let records = tree.files.iter().filter(|file| {
        file.path
            .strip_prefix(evidence::RECORDS)
            .is_some_and(|name| !name.contains('/') && name.ends_with(".json"))
    });
    let mut records: Vec<_> = records.map(|file| (file.path.as_str(), file.text.as_str())).collect();
    records.sort_unstable();
    let written = |path: &str| tree.file(path).map_or("", |file| file.text.as_str());
    if records.is_empty() && written(evidence::CHAPTER).is_empty() {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    match evidence::pages(records.iter().copied()) {
        Ok(pages) => {
            let stale = pages.iter().filter(|(path, text)| written(path) != text.as_str());
            wrong.extend(stale.map(|(path, _)| format!("{path} is not what the figures say")));
        }
        Err(error) => wrong.push(error.to_string()),
    }
    let found =
        records.iter().find(|(path, _)| path.ends_with(evidence::FOUND)).map_or("[]", |(_, text)| text);
    let sources = tree.files.iter().filter(|file| file.path.ends_with(".rs")).map(|file| file.text.as_str());
    let missing = evidence::missing_tests(found, sources);
    wrong.extend(
        missing.iter().map(|test| format!("{} names a test {test:?} that is nowhere", evidence::FOUND)),
    );
    wrong
}

pub(super) fn links(tree: &Tree) -> Vec<String> {
    let known: BTreeSet<&str> = tree.files.iter().map(|file| file.path.as_str()).collect();
    let is_there = |path: &str| {
        let folder = format!("{path}/");
        path.is_empty()
            || known.contains(path)
            || known.range(folder.as_str()..).next().is_some_and(|next| next.starts_with(&folder))
    };
    let mut found = Vec::new();
    for file in tree.with_ending(&[".md"]) {
        for target in targets(&file.text) {
            let path = resolved(&file.path, target);
            if path.is_none_or(|path| !is_there(&path)) {
                found.push(format!("{} links to {target}", file.path));
            }
        }
    }
    found
}

/// The relative targets of Markdown links, without their anchors; code blocks left out.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.split("](").skip(1)).filter_map(|rest| {
        let target = rest.split(')').next()?.split('#').next()?;
        let relative = !target.contains(':') && !target.is_empty();
        relative.then_some(target)
    })
}

/// The path from the root that `target` means in the file at `from`; `None` if it leads out.
fn resolved(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_without_the_workspace_lints_is_found() {
        let good = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";
        let tree = Tree::of(&[
            ("a/Cargo.toml", good),
            ("b/Cargo.toml", "[package]\nname = \"b\"\n"),
            ("Cargo.toml", "[workspace]\n"),
        ]);
        assert_eq!(lints(&tree), ["b/Cargo.toml"]);
    }

    #[test]
    fn databases_have_the_same_migrations_without_gaps() {
        let list = "include_str!(\"../a/0001_init.sql\") include_str!(\"../a/0003_x.sql\") include_str!(\"../b/0001_init.sql\")";
        let tree = Tree::of(&[
            ("migrations/src/lib.rs", list),
            ("migrations/a/0001_init.sql", ""),
            ("migrations/a/0003_x.sql", ""),
            ("migrations/b/0001_init.sql", ""),
        ]);
        assert_eq!(
            migrations(&tree),
            ["migrations/*/0003_x.sql is not number 0002", "migrations/b/0003_x.sql is missing"]
        );
    }

    #[test]
    fn a_chapter_that_the_cases_have_left_behind_is_found() {
        let written = contract::chapter(std::iter::empty());
        let order = ("crates/conformance/src/cases/mod.rs", "    g::CASES,\n");
        let cases = "cases! {\n    A \"g\";\n\n    /// It is so.\n    async fn one(bench) {\n    }\n}\n";
        let cases = ("crates/conformance/src/cases/g.rs", cases);
        assert!(contract(&Tree::of(&[(contract::CHAPTER, &written), order])).is_empty());
        assert_eq!(contract(&Tree::of(&[(contract::CHAPTER, &written), order, cases])).len(), 1);
    }

    #[test]
    fn evidence_that_was_edited_or_names_no_test_is_found() {
        let found = ("docs/evidence/found.json", r#"[{"by":"sim","what":"x","test":"a_test"}]"#);
        let pages = evidence::pages([found].into_iter()).unwrap();
        let written: Vec<_> = pages.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let test = ("crates/core/src/x.rs", "fn a_test() {}");
        assert!(evidence(&Tree::of(&[])).is_empty());
        assert!(evidence(&Tree::of(&[&[found, test], written.as_slice()].concat())).is_empty());
        let by_hand: Vec<_> = written.iter().map(|(path, _)| (*path, "by hand")).collect();
        let wrong = evidence(&Tree::of(&[&[found], by_hand.as_slice()].concat()));
        assert_eq!(wrong.len(), written.len() + 1, "each page, and the test that is missing: {wrong:?}");
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        let text = "[a](b.md#c) [d](../README.md) [e](https://example.org/x) [f](gone.md) [g](examples)\n```\n[h](no.md)\n```\n";
        let tree = Tree::of(&[
            ("docs/a.md", text),
            ("docs/b.md", ""),
            ("README.md", ""),
            ("docs/examples/x.toml", ""),
        ]);
        assert_eq!(links(&tree), ["docs/a.md links to gone.md"]);
    }

    #[test]
    fn a_link_out_of_the_project_is_found() {
        assert_eq!(links(&Tree::of(&[("a.md", "[b](../../c.md)")])).len(), 1);
    }
}

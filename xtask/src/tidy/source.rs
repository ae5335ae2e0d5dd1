//! Rules about the text of files.

use super::{File, Tree};
use crate::shell;

/// The most lines of a file.
const MOST_LINES: usize = 800;
/// From here on a file is named, but not refused.
const MANY_LINES: usize = 500;

/// Where waiting by a timer is allowed, and why. A path ending in `/` stands for everything below.
const SEAMS: &[(&str, &str)] = &[
    ("crates/runtime/src/system.rs", "the clock of the machine"),
    ("crates/postgres/src/wait.rs", "gives up a server that does not answer, whatever a test's clock says"),
    (
        "crates/sqlite/src/worker.rs",
        "waits for the locks of other processes, on a thread that runs nothing else",
    ),
];

pub(super) fn module_docs(tree: &Tree) -> Vec<String> {
    let undocumented = |file: &&File| !is_test(&file.path) && !file.text.trim_start().starts_with("//!");
    tree.rust().filter(undocumented).map(|file| file.path.clone()).collect()
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.starts_with("tests/tests/")
}

pub(super) fn unfinished(tree: &Tree) -> Vec<String> {
    // Put together here, so that this file does not find itself.
    let words =
        [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("db", "g!("), concat!("FIX", "ME")];
    let mut found = Vec::new();
    for file in tree.with_ending(&[".rs", ".sql", ".toml", ".md"]) {
        for word in words {
            let macro_of_rust = word.ends_with('(') && !file.path.ends_with(".rs");
            if !macro_of_rust {
                found.extend(places(file, |line| line.contains(word)));
            }
        }
    }
    found
}

pub(super) fn file_size(tree: &Tree) -> Vec<String> {
    lengths(tree)
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect()
}

/// Files that are not too long, but long.
pub(super) fn long_files(tree: &Tree) -> Vec<(&str, usize)> {
    lengths(tree).filter(|(_, lines)| (MANY_LINES + 1..=MOST_LINES).contains(lines)).collect()
}

fn lengths(tree: &Tree) -> impl Iterator<Item = (&str, usize)> {
    tree.rust().map(|file| (file.path.as_str(), file.text.lines().count()))
}

pub(super) fn ignored_tests(tree: &Tree) -> Vec<String> {
    let bare = concat!("#[ig", "nore]");
    tree.rust().flat_map(|file| places(file, |line| line.trim() == bare)).collect()
}

pub(super) fn seams(tree: &Tree) -> Vec<String> {
    let words =
        [concat!("thread::", "sleep"), concat!("time::", "sleep"), concat!("thread::", "park_timeout")];
    let allowed = |path: &str| {
        SEAMS.iter().any(|(seam, _)| path == *seam || (seam.ends_with('/') && path.starts_with(seam)))
    };
    let waits =
        |line: &str| !line.trim_start().starts_with("//") && words.iter().any(|word| line.contains(word));
    tree.rust().filter(|file| !allowed(&file.path)).flat_map(|file| places(file, waits)).collect()
}

pub(super) fn machine_paths(tree: &Tree) -> Vec<String> {
    let mut folders = vec![concat!("/ro", "ot/").to_owned(), concat!("/wo", "rk/").to_owned()];
    // The machine that this runs on: its user's folder, and where the workspace lies.
    let here = [std::env::var("HOME").unwrap_or_default(), shell::root().to_string_lossy().into_owned()];
    folders
        .extend(here.into_iter().filter(|path| path.matches('/').count() > 1).map(|path| format!("{path}/")));
    // After a letter it is part of a longer path or of an address, and means something else.
    let names = |line: &str, folder: &str| {
        line.match_indices(folder).any(|(at, _)| {
            !line[..at].ends_with(|before: char| before.is_alphanumeric() || "./_-*}>".contains(before))
        })
    };
    let has = |line: &str| folders.iter().any(|folder| names(line, folder));
    tree.files.iter().flat_map(|file| places(file, has)).collect()
}

pub(super) fn conflict_markers(tree: &Tree) -> Vec<String> {
    let marks = |line: &str| line.starts_with(&"<".repeat(7)) || line.starts_with(&">".repeat(7));
    tree.files.iter().flat_map(|file| places(file, marks)).collect()
}

/// `path:line` of every line that is so.
fn places(file: &File, is_so: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = file.text.lines().zip(1..).filter(|(line, _)| is_so(line));
    lines.map(|(line, number)| format!("{}:{number}: {}", file.path, line.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_a_purpose_is_found_and_a_test_may_have_none() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "//! A purpose.\n"),
            ("crates/a/src/b.rs", "use std::fmt;\n"),
            ("crates/a/src/b/tests.rs", "use super::*;\n"),
        ]);
        assert_eq!(module_docs(&tree), ["crates/a/src/b.rs"]);
    }

    #[test]
    fn unfinished_work_is_found() {
        let text = format!("fn a() {{ {}) }}\n", concat!("to", "do!("));
        let tree = Tree::of(&[("crates/a/src/lib.rs", &text), ("docs/a.md", concat!("FIX", "ME later"))]);
        assert_eq!(unfinished(&tree).len(), 2);
    }

    #[test]
    fn long_files_are_refused_and_longish_ones_named() {
        let (longish, long) = ("a\n".repeat(501), "a\n".repeat(801));
        let tree = Tree::of(&[("a.rs", "a\n"), ("b.rs", &longish), ("c.rs", &long)]);
        assert_eq!(file_size(&tree), ["c.rs: 801 lines"]);
        assert_eq!(long_files(&tree), [("b.rs", 501)]);
    }

    #[test]
    fn a_test_is_not_ignored_without_a_reason() {
        let text = format!("{}\n#[ignore = \"needs a server\"]\n", concat!("#[ig", "nore]"));
        assert_eq!(ignored_tests(&Tree::of(&[("a.rs", &text)])).len(), 1);
    }

    #[test]
    fn only_seams_wait_by_a_timer() {
        let text = format!(
            "    {}(span);\n// {} is not used\n",
            concat!("thread::", "sleep"),
            concat!("thread::", "sleep")
        );
        let tree = Tree::of(&[("crates/runtime/src/system.rs", &text), ("crates/core/src/lib.rs", &text)]);
        assert_eq!(seams(&tree).len(), 1);
    }

    #[test]
    fn folders_of_a_machine_are_found_but_not_parts_of_longer_paths() {
        let text = format!("in {}x\nin .{}x\n", concat!("/wo", "rk/"), concat!("/wo", "rk/"));
        assert_eq!(machine_paths(&Tree::of(&[("a.md", &text)])).len(), 1);
    }

    #[test]
    fn a_conflict_is_found() {
        assert_eq!(conflict_markers(&Tree::of(&[("a.md", &"<".repeat(7))])).len(), 1);
    }
}

//! Rules about which crate may depend on which.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Tree;

/// What `core` must not reach, through whatever: executors, databases, sockets.
const IMPURE: &[&str] = &[
    "async-std",
    "diesel",
    "hyper",
    "libsqlite3-sys",
    "mio",
    "mysql_async",
    "reqwest",
    "rusqlite",
    "smol",
    "socket2",
    "sqlx",
    "sqlx-core",
    "tokio",
    "tokio-postgres",
];

/// The arrows of ARCHITECTURE.md: which members each member may use. Tests may use more.
const ARROWS: &[(&str, &[&str])] = &[
    ("punctual-core", &[]),
    ("punctual-migrations", &[]),
    // What things cost; nothing uses it. It makes databases as the tests do, and writes in transactions as users do.
    (
        "punctual-bench",
        &[
            "punctual-core",
            "punctual-mysql",
            "punctual-postgres",
            "punctual-runtime",
            "punctual-sqlite",
            "punctual-tests",
        ],
    ),
    ("punctual-checker", &["punctual-core"]),
    ("punctual-sim", &["punctual-checker", "punctual-core", "punctual-runtime", "punctual-sqlite"]),
    ("punctual-conformance", &["punctual-core"]),
    ("punctual-runtime", &["punctual-core"]),
    ("punctual-postgres", &["punctual-core", "punctual-migrations"]),
    ("punctual-mysql", &["punctual-core", "punctual-migrations"]),
    ("punctual-sqlite", &["punctual-core", "punctual-migrations"]),
    (
        "punctual",
        &["punctual-core", "punctual-mysql", "punctual-postgres", "punctual-runtime", "punctual-sqlite"],
    ),
    ("punctual-cli", &["punctual", "punctual-checker", "punctual-core", "punctual-runtime"]),
    (
        "punctual-tests",
        &[
            "punctual",
            "punctual-checker",
            "punctual-conformance",
            "punctual-core",
            "punctual-mysql",
            "punctual-postgres",
            "punctual-runtime",
            "punctual-sqlite",
        ],
    ),
    // `xtask oracle` compares the pure schedules; nothing that runs is reached from here.
    ("xtask", &["punctual-core"]),
];

pub(super) fn pure_core(tree: &Tree) -> Vec<String> {
    let graph = Graph::of(&tree.metadata);
    let Some(core) = graph.named("punctual-core").next() else {
        return vec!["there is no punctual-core".to_owned()];
    };
    let reached = graph.reached_from(core);
    let names: BTreeSet<&str> = reached.iter().map(|id| graph.name(id)).collect();
    IMPURE
        .iter()
        .filter(|name| names.contains(**name))
        .map(|name| format!("punctual-core reaches {name}"))
        .collect()
}

pub(super) fn arrows(tree: &Tree) -> Vec<String> {
    let graph = Graph::of(&tree.metadata);
    let mut found = Vec::new();
    for member in &graph.members {
        let name = graph.name(member);
        let Some((_, allowed)) = ARROWS.iter().find(|(member, _)| *member == name) else {
            found.push(format!("{name} has no row in ARROWS"));
            continue;
        };
        let used = graph.uses(member).filter(|id| graph.members.contains(*id)).map(|id| graph.name(id));
        found.extend(used.filter(|used| !allowed.contains(used)).map(|used| format!("{name} uses {used}")));
    }
    found
}

pub(super) fn one_sqlite(tree: &Tree) -> Vec<String> {
    let graph = Graph::of(&tree.metadata);
    let bindings: Vec<&str> = graph.named("libsqlite3-sys").collect();
    let mut found = Vec::new();
    if bindings.len() > 1 {
        found.push(format!("there are {} libsqlite3-sys", bindings.len()));
    }
    for id in graph.names.keys() {
        let name = graph.name(id);
        if name != "rusqlite" && graph.uses(id).any(|used| bindings.contains(&used)) {
            found.push(format!("{name} uses libsqlite3-sys"));
        }
    }
    found
}

pub(super) fn sources(tree: &Tree) -> Vec<String> {
    let Some(lock) = tree.file("Cargo.lock") else { return Vec::new() };
    let home = "\"registry+https://github.com/rust-lang/crates.io-index\"";
    let sources = lock.text.lines().filter_map(|line| line.strip_prefix("source = "));
    let others: BTreeSet<&str> = sources.filter(|source| *source != home).collect();
    others.into_iter().map(|source| format!("Cargo.lock names {source}")).collect()
}

/// Packages and the edges between them that end up in a program: build scripts and tests left out.
struct Graph<'a> {
    names: BTreeMap<&'a str, &'a str>,
    edges: BTreeMap<&'a str, Vec<&'a str>>,
    members: BTreeSet<&'a str>,
}

impl<'a> Graph<'a> {
    fn of(metadata: &'a Value) -> Self {
        let list = |value: &'a Value| value.as_array().into_iter().flatten();
        let text = |value: &'a Value| value.as_str().unwrap_or_default();
        let normal = |edge: &&'a Value| list(&edge["dep_kinds"]).any(|kind| kind["kind"].is_null());
        let names = list(&metadata["packages"]).map(|package| (text(&package["id"]), text(&package["name"])));
        let edges = list(&metadata["resolve"]["nodes"]).map(|node| {
            let used = list(&node["deps"]).filter(normal).map(|edge| text(&edge["pkg"]));
            (text(&node["id"]), used.collect())
        });
        let members = list(&metadata["workspace_members"]).map(text);
        Self { names: names.collect(), edges: edges.collect(), members: members.collect() }
    }

    fn name(&self, id: &str) -> &'a str {
        self.names.get(id).copied().unwrap_or_default()
    }

    fn named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.names.iter().filter(move |(_, known)| **known == name).map(|(id, _)| *id)
    }

    fn uses(&self, id: &str) -> impl Iterator<Item = &'a str> + '_ {
        self.edges.get(id).into_iter().flatten().copied()
    }

    fn reached_from(&self, start: &'a str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![start];
        while let Some(id) = open.pop() {
            if reached.insert(id) {
                open.extend(self.uses(id));
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A tree of packages, each with those that it uses; ids are names.
    fn tree(packages: &[(&str, &[&str])]) -> Tree {
        let package = |name: &str| json!({"id": name, "name": name});
        let node = |(name, used): &(&str, &[&str])| {
            let edge = |used: &&str| json!({"pkg": used, "dep_kinds": [{"kind": null}]});
            json!({"id": name, "deps": used.iter().map(edge).collect::<Vec<_>>()})
        };
        let members = packages.iter().map(|(name, _)| *name).filter(|name| name.starts_with("punctual"));
        let metadata = json!({
            "packages": packages.iter().map(|(name, _)| package(name)).collect::<Vec<_>>(),
            "resolve": {"nodes": packages.iter().map(node).collect::<Vec<_>>()},
            "workspace_members": members.collect::<Vec<_>>(),
        });
        Tree { metadata, ..Tree::of(&[]) }
    }

    #[test]
    fn an_executor_far_below_core_is_found() {
        assert_eq!(pure_core(&tree(&[("punctual-core", &["serde"]), ("serde", &[])])), [""; 0]);
        let tree = tree(&[("punctual-core", &["helper"]), ("helper", &["tokio"]), ("tokio", &[])]);
        assert_eq!(pure_core(&tree), ["punctual-core reaches tokio"]);
    }

    #[test]
    fn an_arrow_that_points_the_wrong_way_is_found() {
        let tree = tree(&[
            ("punctual-sqlite", &["punctual-runtime"]),
            ("punctual-runtime", &[]),
            ("punctual-new", &[]),
        ]);
        assert_eq!(
            arrows(&tree),
            ["punctual-new has no row in ARROWS", "punctual-sqlite uses punctual-runtime"]
        );
    }

    #[test]
    fn a_second_user_of_sqlite_is_found() {
        let tree = tree(&[
            ("rusqlite", &["libsqlite3-sys"]),
            ("libsqlite3-sys", &[]),
            ("sqlx", &["libsqlite3-sys"]),
        ]);
        assert_eq!(one_sqlite(&tree), ["sqlx uses libsqlite3-sys"]);
    }

    #[test]
    fn a_dependency_from_elsewhere_is_found() {
        let tree = Tree::of(&[("Cargo.lock", "source = \"git+https://example.org/x\"\n")]);
        assert_eq!(sources(&tree).len(), 1);
    }
}

//! Which stores there are, the test programs that run the kit on them, and the servers that these talk to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use serde_json::Value;

use crate::db::{self, Programs, Running, Server};
use crate::shell::{self, Result};

/// A store to run the kit on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Choice {
    /// Every store of the workspace, in every way.
    All,
    /// In memory.
    Memory,
    /// On an SQLite file.
    Sqlite,
    /// On Postgres.
    Postgres,
    /// On MariaDB or MySQL.
    Mysql,
    /// On Postgres through a pooler in transaction mode.
    Pgbouncer,
    /// On Postgres, claiming by comparison alone.
    PostgresCas,
    /// On MariaDB or MySQL, claiming by comparison alone.
    MysqlCas,
}

/// A store of the workspace.
struct Store {
    choice: Choice,
    package: &'static str,
    test: &'static str,
    servers: &'static [Server],
}

const fn store(
    choice: Choice,
    package: &'static str,
    test: &'static str,
    servers: &'static [Server],
) -> Store {
    Store { choice, package, test, servers }
}

const STORES: &[Store] = &[
    store(Choice::Memory, "punctual-conformance", "memory", &[]),
    store(Choice::Sqlite, "punctual-sqlite", "conformance", &[]),
    store(Choice::Postgres, "punctual-postgres", "conformance", &[Server::Postgres]),
    store(Choice::PostgresCas, "punctual-postgres", "conformance_cas", &[Server::Postgres]),
    store(Choice::Pgbouncer, "punctual-postgres", "conformance", &[Server::Postgres, Server::Pgbouncer]),
    store(Choice::Mysql, "punctual-mysql", "conformance", &[Server::Mysql]),
    store(Choice::MysqlCas, "punctual-mysql", "conformance_cas", &[Server::Mysql]),
];

/// Tells the tests of the Postgres store to talk to the server through a pooler.
const POOLED: &str = "PUNCTUAL_POSTGRES_POOLED_URL";
/// Where a package from elsewhere finds the URL that was given.
const URL: &str = "PUNCTUAL_CONFORMANCE_URL";

/// A test program that runs the kit.
#[derive(Debug)]
pub(super) struct Target {
    /// How its store is called in the report, unless it calls itself otherwise.
    pub(super) name: String,
    package: Option<&'static str>,
    folder: Option<PathBuf>,
    test: String,
    servers: BTreeSet<Server>,
    /// The URL that was given by hand, and its variable.
    given: Option<(&'static str, String)>,
}

/// Servers for all targets.
#[derive(Debug, Default)]
pub(super) struct Servers(Running);

impl Target {
    /// Whether the store is one of the workspace, whose name is the choice's.
    pub(super) const fn is_ours(&self) -> bool {
        self.package.is_some()
    }

    /// The file beside the test program that says of each mistake which no case notices why none can.
    pub(super) fn reasons(&self) -> PathBuf {
        let ours = self.package.map(|package| {
            shell::root().join("crates").join(package.strip_prefix("punctual-").unwrap_or(package))
        });
        let folder = self.folder.clone().or(ours).unwrap_or_default();
        folder.join("tests").join(format!("{}.mutants", self.test))
    }

    pub(super) fn command(&self, filter: Option<&str>) -> Command {
        let mut arguments = vec!["test", "--test", &self.test];
        arguments.extend(self.package.iter().flat_map(|package| ["--package", package]));
        let manifest = self.folder.as_ref().map(|folder| folder.join("Cargo.toml"));
        let manifest = manifest.as_deref().map(Path::to_string_lossy);
        arguments.extend(manifest.as_deref().into_iter().flat_map(|path| ["--manifest-path", path]));
        arguments.extend(filter.into_iter().flat_map(|filter| ["--", filter]));
        let mut cargo = shell::cargo(&arguments);
        if let Some(folder) = &self.folder {
            // Its own configuration of cargo holds there.
            cargo.current_dir(folder);
        }
        cargo
    }

    /// The variables that say where the servers are.
    pub(super) fn variables(&self, servers: &Servers) -> Result<BTreeMap<&'static str, String>> {
        let mut variables = BTreeMap::new();
        for server in &self.servers {
            let variable = if *server == Server::Pgbouncer { POOLED } else { server.variable() };
            let url = servers.0.url(*server).ok_or_else(|| format!("there is no {}", server.variable()))?;
            variables.insert(variable, url.to_owned());
        }
        variables.extend(self.given.clone());
        Ok(variables)
    }
}

/// The targets of stores of this workspace, and their servers.
pub(super) fn of_choice(
    choice: Choice,
    url: Option<&str>,
    programs: &Programs,
) -> Result<(Vec<Target>, Servers)> {
    let members = shell::members()?;
    let is_there = |store: &&Store| members.iter().any(|member| member == store.package);
    let chosen: Vec<&Store> = match choice {
        Choice::All => STORES.iter().filter(is_there).collect(),
        one => STORES.iter().filter(|store| store.choice == one).collect(),
    };
    let given = match (url, chosen.as_slice()) {
        (None, _) => None,
        // A pooler may not be the way to the schema's owner, so it is the pooler that is given.
        (Some(url), [Store { servers: [.., Server::Pgbouncer], .. }]) => Some((POOLED, url.to_owned())),
        (Some(url), [Store { servers: [server], .. }]) => Some((server.variable(), url.to_owned())),
        (Some(_), _) => {
            return Err("`--url` needs one store that has a server: name it with `--store`".into());
        }
    };
    let target = |store: &&Store| {
        let mut servers: BTreeSet<Server> = store.servers.iter().copied().collect();
        let replaced = |server: &Server| {
            given.as_ref().is_some_and(|(variable, _)| {
                *variable == server.variable() || (*variable == POOLED && *server == Server::Pgbouncer)
            })
        };
        servers.retain(|server| !replaced(server));
        Target {
            name: name(store.choice),
            package: Some(store.package),
            folder: None,
            test: store.test.to_owned(),
            servers,
            given: given.clone(),
        }
    };
    with_servers(chosen.iter().map(target).collect(), programs)
}

/// The targets of a package in a folder: its test programs whose names begin with `conformance`.
pub(super) fn of_package(
    folder: &Path,
    url: Option<&str>,
    programs: &Programs,
) -> Result<(Vec<Target>, Servers)> {
    let folder = std::path::absolute(folder)?;
    let manifest = folder.join("Cargo.toml");
    let mut cargo = shell::cargo(&["metadata", "--format-version", "1", "--no-deps", "--manifest-path"]);
    let known: Value = serde_json::from_str(&shell::capture(cargo.arg(&manifest))?)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let here = |package: &Value| {
        package["manifest_path"].as_str().is_some_and(|path| same(Path::new(path), &manifest))
    };
    let package = list(&known["packages"]).into_iter().find(here);
    let package = package.ok_or_else(|| format!("{} is no package", manifest.display()))?;
    let package_name = package["name"].as_str().unwrap_or_default().to_owned();
    let servers = db::needs_of(std::slice::from_ref(&package_name))?;
    let test = |target: &Value| {
        let is_test = list(&target["kind"]).iter().any(|kind| kind == "test");
        target["name"].as_str().filter(|name| is_test && name.starts_with("conformance")).map(str::to_owned)
    };
    let tests: Vec<String> = list(&package["targets"]).iter().filter_map(test).collect();
    if tests.is_empty() {
        return Err(
            format!("{package_name} has no test program `conformance`; docs/stores.md shows one").into()
        );
    }
    let target = |test: String| Target {
        name: format!("{package_name}-{test}"),
        package: None,
        folder: Some(folder.clone()),
        test,
        servers: servers.clone(),
        given: url.map(|url| (URL, url.to_owned())),
    };
    with_servers(tests.into_iter().map(target).collect(), programs)
}

fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    real(one) == real(other)
}

fn with_servers(targets: Vec<Target>, programs: &Programs) -> Result<(Vec<Target>, Servers)> {
    let wanted = targets.iter().flat_map(|target| &target.servers).copied().collect();
    Ok((targets, Servers(db::running(&wanted, programs, db::Outlives::Server)?)))
}

fn name(choice: Choice) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

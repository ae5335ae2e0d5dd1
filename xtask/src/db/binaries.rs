//! Where the programs of servers are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell;

/// Folders that servers lie in though they are in few people's `PATH`.
const USUAL: &[&str] = &["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/libexec"];
/// Folders with a folder for each version of Postgres, each with a `bin`.
const VERSIONS: &[&str] = &["/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/homebrew/opt"];

/// A program by its name, in `PATH` or where servers usually lie.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(USUAL.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The folder with `initdb` and `postgres` of the newest Postgres.
pub(super) fn postgres() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some(config) = program("pg_config")
        && let Ok(said) = shell::capture(Command::new(config).arg("--bindir"))
    {
        folders.push(said.trim().into());
    }
    for versions in VERSIONS {
        let entries = fs::read_dir(versions).into_iter().flatten().flatten();
        folders.extend(entries.map(|entry| entry.path().join("bin")));
    }
    folders.extend(program("postgres").and_then(|file| file.parent().map(Path::to_path_buf)));
    folders.retain(|folder| is_postgres(folder));
    folders.into_iter().max_by_key(|folder| version(&folder.join("postgres")))
}

pub(super) fn is_postgres(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file())
}

/// The program of MariaDB or MySQL, in a folder or wherever it is found.
pub(super) fn mysql(folder: Option<&Path>) -> Option<PathBuf> {
    ["mariadbd", "mysqld"].into_iter().find_map(|name| match folder {
        Some(folder) => Some(folder.join(name)).filter(|file| file.is_file()),
        None => program(name),
    })
}

/// The numbers of the version that a program says it has.
fn version(program: &Path) -> Vec<u32> {
    let said = shell::capture(Command::new(program).arg("--version")).unwrap_or_default();
    numbers(&said)
}

fn numbers(said: &str) -> Vec<u32> {
    let word = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    word.into_iter().flat_map(|word| word.split('.')).map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_the_largest() {
        let [old, new] =
            ["postgres (PostgreSQL) 9.6.24", "postgres (PostgreSQL) 15.14 (Debian 15.14-0)"].map(numbers);
        assert_eq!(new, [15, 14]);
        assert!(old < new);
    }
}

//! The SQLite store at both ends of the range of rusqlite that it allows.
//!
//! Users bring their own version of rusqlite, so the newest one that the lock file names proves too little. The tests run
//! on a copy of the workspace, because a version can only be chosen in a lock file, and ours is not to be touched.

use std::fs;
use std::path::Path;

use crate::shell::{self, Result, Verdict};
use crate::tidy;

/// The oldest and the newest version that `crates/sqlite` allows; the newest of each minor version is taken.
const VERSIONS: &[&str] = &["0.39.0", "0.41.1"];

/// Builds and tests the SQLite store with each version.
pub(crate) fn both() -> Result<Verdict> {
    let target = shell::target_directory()?;
    let copy = target.join("ends").join("workspace");
    let build = target.join("ends").join("target");
    copy_workspace(&shell::root(), &copy)?;
    let manifest = copy.join("Cargo.toml");
    let manifest = manifest.to_string_lossy();
    for version in VERSIONS {
        println!("rusqlite {version}");
        let choose = ["update", "--manifest-path", &manifest, "--package", "rusqlite", "--precise", version];
        let test = ["test", "--quiet", "--manifest-path", &manifest, "--package", "punctual-sqlite"];
        for arguments in [&choose[..], &test[..]] {
            let mut cargo = shell::cargo(arguments);
            cargo.current_dir(&copy).env("CARGO_TARGET_DIR", &build);
            if !shell::run(&mut cargo)?.is_good() {
                println!("the SQLite store does not work with rusqlite {version}");
                return Ok(Verdict::Bad);
            }
        }
    }
    Ok(Verdict::Good)
}

/// Makes `copy` hold what belongs to the workspace at `root`, and nothing else. Files that are the same keep their
/// times, so that a second run builds little.
fn copy_workspace(root: &Path, copy: &Path) -> Result<()> {
    fs::create_dir_all(copy)?;
    let (wanted, _) = tidy::paths(root);
    for path in tidy::walked(copy).iter().filter(|path| wanted.binary_search(path).is_err()) {
        fs::remove_file(copy.join(path))?;
    }
    for path in &wanted {
        let (from, to) = (root.join(path), copy.join(path));
        let content = fs::read(&from)?;
        if fs::read(&to).is_ok_and(|old| old == content) {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(to, content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_are_the_ends_of_the_range_in_the_manifest() {
        let manifest = fs::read_to_string(shell::root().join("Cargo.toml")).unwrap();
        let line = manifest.lines().find(|line| line.starts_with("rusqlite")).unwrap();
        assert!(line.contains("\">=0.39, <0.42\""), "{line}: then VERSIONS must change too");
        assert_eq!((VERSIONS.first(), VERSIONS.last()), (Some(&"0.39.0"), Some(&"0.41.1")));
    }
}

//! The schedule file that the demo's nodes run: a real one, for anybody to read and to run.

use std::path::Path;

use super::failed::Failed;

/// The file, in which the path of this program is left open.
const TEMPLATE: &str = include_str!("demo.toml");
/// The place of that path, quotes included.
const PROGRAM: &str = "\"PROGRAM\"";

/// The file for this program.
pub(crate) fn text(exe: &Path) -> Result<String, Failed> {
    let exe = exe
        .to_str()
        .ok_or_else(|| Failed::new(format!("{} is no text that a file can hold", exe.display())))?;
    Ok(TEMPLATE.replace(PROGRAM, &toml::Value::String(exe.to_owned()).to_string()))
}

/// How many jobs it has.
pub(crate) fn jobs() -> usize {
    TEMPLATE.lines().filter(|line| line.starts_with("[job.")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_can_be_put_in() {
        for path in ["/usr/bin/punctual", "/home/o'neil \"x\"/punctual", r"/odd\path"] {
            let table: toml::Table = text(Path::new(path)).unwrap().parse().unwrap();
            let command = &table["job"]["pulse/north"]["command"];
            assert_eq!(command[0].as_str(), Some(path));
        }
    }

    #[test]
    fn the_schedule_is_as_busy_as_it_is_said_to_be() {
        let table: toml::Table = TEMPLATE.parse().unwrap();
        let all = table["job"].as_table().unwrap();
        assert_eq!(all.len(), jobs());
        assert!(jobs() >= 24, "{}", jobs());
        let exclusive =
            all.values().filter(|job| ["overlap", "limit"].iter().any(|key| job.get(key).is_some())).count();
        assert!(exclusive >= 6, "{exclusive}");
    }
}

//! Tools beyond the Rust toolchain, each at the one version that the workspace is checked with.
//!
//! Nothing here is needed to build, test or use Punctual.

use crate::shell::{self, Result, Verdict};

/// A tool that `cargo install` brings.
#[derive(Debug)]
pub(crate) struct Tool {
    /// The crate's name, which is that of the program too.
    pub(crate) name: &'static str,
    /// The version that the workspace is checked with.
    pub(crate) version: &'static str,
    /// What it is for.
    pub(crate) purpose: &'static str,
}

pub(crate) const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    purpose: "licences, banned crates and sources of dependencies, by deny.toml; a step of `cargo xtask ci`",
};

pub(crate) const TOOLS: &[Tool] = &[
    CARGO_DENY,
    Tool {
        name: "cargo-nextest",
        version: "0.9.143",
        purpose: "another test runner, a process for each test, by .config/nextest.toml; for those who like it",
    },
];

impl Tool {
    /// The version that is installed, if any.
    pub(crate) fn installed(&self) -> Option<String> {
        let command = self.name.strip_prefix("cargo-")?;
        let said = shell::capture(&mut shell::cargo(&[command, "--version"])).ok()?;
        said.split_whitespace().nth(1).map(str::to_owned)
    }

    /// The command that brings it.
    pub(crate) fn how_to_install(&self) -> String {
        format!("cargo install --locked {}@{}", self.name, self.version)
    }
}

pub(crate) fn run() -> Result<Verdict> {
    for tool in TOOLS {
        let here = match tool.installed() {
            Some(version) if version == tool.version => "here".to_owned(),
            Some(version) => format!("here as {version}; {}", tool.how_to_install()),
            None => format!("not here; {}", tool.how_to_install()),
        };
        println!("{:<14} {:<8} {here}\n{:<14} {}", tool.name, tool.version, "", tool.purpose);
    }
    Ok(Verdict::Good)
}

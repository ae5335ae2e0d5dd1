//! Installing servers where that can be done without asking: as root, on a system with `apt-get`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Server;
use super::binaries;
use crate::shell::{self, Result};

/// Asked by the scripts of Debian's packages whether they may start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// The answer is 101: not allowed.
const NO_SERVICES: &str =
    "#!/bin/sh\n# Written while `cargo xtask` installs servers, which it starts by itself.\nexit 101\n";

/// Debian's package of a server.
const fn package(server: Server) -> &'static str {
    match server {
        Server::Postgres => "postgresql",
        Server::Mysql => "mariadb-server",
        Server::Pgbouncer => "pgbouncer",
    }
}

/// Installs the packages of servers; none of their services is started.
///
/// # Errors
/// If this is no system where that can be done; the message says what to install.
pub(super) fn install(servers: &[Server]) -> Result<()> {
    let packages: Vec<&str> = servers.iter().copied().map(package).collect();
    let root = rustix::process::geteuid().is_root();
    let Some(apt) = binaries::program("apt-get").filter(|_| root) else {
        let variables: Vec<&str> = servers.iter().map(|server| server.variable()).collect();
        let why = format!(
            "tests need servers that are not here: install {} (on Debian and Ubuntu: `apt-get install {}`), \
             or set {} to a server that tests may use",
            servers.iter().map(|server| server.name()).collect::<Vec<_>>().join(" and "),
            packages.join(" "),
            variables.join(" and "),
        );
        return Err(why.into());
    };
    println!(
        "not here: {}; installing Debian's packages, without starting their services",
        packages.join(", ")
    );
    let _policy = Policy::forbid()?;
    let apt = |arguments: &[&str]| {
        let mut command = Command::new(&apt);
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        shell::run(&mut command)
    };
    // Old lists of packages are no reason to stop: what they name may be there still.
    apt(&["update"])?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(&packages);
    if !apt(&arguments)?.is_good() {
        return Err(format!("apt-get could not install {}", packages.join(" ")).into());
    }
    Ok(())
}

/// Forbids packages to start services as long as it lives.
struct Policy {
    ours: bool,
}

impl Policy {
    fn forbid() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        if Path::new(POLICY).exists() {
            // Somebody else's rule holds; in containers it usually says the same.
            return Ok(Self { ours: false });
        }
        fs::write(POLICY, NO_SERVICES)?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(Self { ours: true })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

//! How each server is set up and started: as in production, but for how far data are written ([`Outlives`]).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::process::{Process, Recipe, User, mortal};
use super::{Programs, Server, Urls, binaries, install};
use crate::shell::{self, Result};

/// Connections at once: several stores, each with pools, in many cases side by side.
const CONNECTIONS: u32 = 400;

/// What committed data outlive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outlives {
    /// The machine, as in production: every commit is on the disk.
    #[default]
    Machine,
    /// The server, in whatever way it ends: every commit is with the operating system. No test can tell the difference, as
    /// none stops the machine, and many of them do little but wait for disks.
    Server,
}

/// What a keeper is to start.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) outlives: Outlives,
    /// The folder with the programs of Postgres.
    pub(super) postgres: Option<PathBuf>,
    /// The program of MariaDB or MySQL.
    pub(super) mysql: Option<PathBuf>,
    /// The program of PgBouncer, and the Postgres that it stands in front of, if the keeper does not start one.
    pub(super) pgbouncer: Option<(PathBuf, Option<String>)>,
    /// Whether the program of MySQL was named by hand, and has its files beside it.
    pub(super) mysql_has_its_files: bool,
}

impl Plan {
    pub(super) fn to_json(&self) -> Value {
        let Self { outlives, postgres, mysql, pgbouncer, mysql_has_its_files } = self;
        let (bouncer, behind) = pgbouncer.clone().unzip();
        json!({
            "postgres": postgres, "mysql": mysql, "mysql_has_its_files": mysql_has_its_files,
            "pgbouncer": bouncer, "behind": behind.flatten(), "outlives_machine": *outlives == Outlives::Machine,
        })
    }

    pub(super) fn from_json(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let outlives =
            if value["outlives_machine"] == false { Outlives::Server } else { Outlives::default() };
        Self {
            outlives,
            postgres: text("postgres").map(PathBuf::from),
            mysql: text("mysql").map(PathBuf::from),
            pgbouncer: text("pgbouncer").map(|program| (program.into(), text("behind"))),
            mysql_has_its_files: value["mysql_has_its_files"] == true,
        }
    }
}

/// Finds what is needed to start servers, and installs what is missing.
pub(super) fn plan(
    wanted: &BTreeSet<Server>,
    postgres_url: Option<&String>,
    programs: &Programs,
    outlives: Outlives,
) -> Result<Plan> {
    let mut wanted = wanted.clone();
    if wanted.contains(&Server::Pgbouncer) && postgres_url.is_none() {
        wanted.insert(Server::Postgres);
    }
    if let Some(folder) = programs.postgres_bin.as_deref().filter(|folder| !binaries::is_postgres(folder)) {
        return Err(format!("{} has no initdb and postgres", folder.display()).into());
    }
    let find = |server: Server| match server {
        Server::Postgres => programs.postgres_bin.clone().or_else(binaries::postgres),
        Server::Mysql => binaries::mysql(programs.mysql_bin.as_deref()),
        Server::Pgbouncer => binaries::program("pgbouncer"),
    };
    let missing: Vec<Server> = wanted.iter().copied().filter(|server| find(*server).is_none()).collect();
    if !missing.is_empty() {
        install::install(&missing)?;
    }
    let found = |server: Server| -> Result<Option<PathBuf>> {
        if !wanted.contains(&server) {
            return Ok(None);
        }
        let path = find(server).ok_or_else(|| format!("{} is still not to be found", server.name()))?;
        // The keeper works elsewhere.
        Ok(Some(std::path::absolute(path)?))
    };
    Ok(Plan {
        outlives,
        postgres: found(Server::Postgres)?,
        mysql: found(Server::Mysql)?,
        pgbouncer: found(Server::Pgbouncer)?.map(|program| (program, postgres_url.cloned())),
        mysql_has_its_files: programs.mysql_bin.is_some(),
    })
}

/// Starts what a plan says, with all data below `folder`, and answers when all of it is ready.
pub(super) fn start(plan: &Plan, folder: &Path) -> Result<(Vec<Process>, Urls)> {
    let (mut processes, mut urls) = (Vec::new(), Urls::new());
    // Setting up takes seconds, so both do it at once.
    let postgres = plan.postgres.as_deref().map(|bin| Postgres::set_up(bin, folder)).transpose()?;
    let mysql = plan.mysql.as_deref();
    let mysql = mysql.map(|program| Mysql::set_up(program, plan.mysql_has_its_files, folder)).transpose()?;
    if let Some(postgres) = postgres {
        let (process, url) = postgres.start(plan.outlives)?;
        processes.push(process);
        urls.insert(Server::Postgres, url);
    }
    if let Some(mysql) = mysql {
        let (process, url) = mysql.start(plan.outlives)?;
        processes.push(process);
        urls.insert(Server::Mysql, url);
    }
    if let Some((program, behind)) = &plan.pgbouncer {
        let behind = behind.clone().or_else(|| urls.get(&Server::Postgres).cloned());
        let (process, url) = pgbouncer(program, &behind.ok_or("pgbouncer has no Postgres")?, folder)?;
        processes.push(process);
        urls.insert(Server::Pgbouncer, url);
    }
    Ok((processes, urls))
}

/// A port of the loopback address that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Other users of the machine can reach the loopback address too, so there are passwords.
fn password() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A command of setting up, in progress.
struct SettingUp(Command, Child);

impl SettingUp {
    fn begin(mut command: Command) -> Result<Self> {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child =
            child.map_err(|error| format!("{:?} cannot be started: {error}", command.get_program()))?;
        Ok(Self(command, child))
    }

    fn finish(self) -> Result<()> {
        let output = self.1.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(format!("{:?} failed:\n{}", self.0.get_program(), String::from_utf8_lossy(&said)).into())
    }
}

struct Postgres {
    bin: PathBuf,
    data: PathBuf,
    user: Option<User>,
    password: String,
    set_up: SettingUp,
}

impl Postgres {
    fn set_up(bin: &Path, folder: &Path) -> Result<Self> {
        let user = User::for_server(&["postgres"])?;
        let data = folder.join("postgres");
        User::make_folder(user, &data)?;
        let (secret, password) = (folder.join("postgres.password"), password()?);
        User::write(user, &secret, &password)?;
        let mut initdb = Command::new(bin.join("initdb"));
        // What initdb writes goes to disk later or never; what the server writes, as a server does it. The password goes over
        // the loopback address as it is: tests are not optimised, and would spend most of their own time on SCRAM.
        initdb.args(["--no-sync", "--username=postgres", "--auth=password", "--encoding=UTF8", "--locale=C"]);
        initdb.arg("--pwfile").arg(&secret).arg("--pgdata").arg(&data);
        User::lets_run(user, &mut initdb);
        let set_up = SettingUp::begin(initdb)?;
        Ok(Self { bin: bin.to_path_buf(), data, user, password, set_up })
    }

    fn start(self, outlives: Outlives) -> Result<(Process, String)> {
        let Self { bin, data, user, password, set_up } = self;
        set_up.finish()?;
        let port = free_port()?;
        let mut server = mortal(&bin.join("postgres"));
        server.arg("-D").arg(&data);
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            format!("port={port}"),
            format!("max_connections={CONNECTIONS}"),
        ] {
            server.args(["-c", &setting]);
        }
        if outlives == Outlives::Server {
            server.args(["-c", "fsync=off"]);
        }
        User::lets_run(user, &mut server);
        // QUIT ends without a last checkpoint, which nobody needs, but leaves no shared memory behind, as KILL would.
        let process = Process::start(Recipe {
            server: Server::Postgres,
            command: server,
            ready: "database system is ready to accept connections",
            stop: Signal::INT,
            end: Signal::QUIT,
            data: Some(data),
        })?;
        Ok((process, format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres")))
    }
}

struct Mysql {
    program: PathBuf,
    basedir: Option<PathBuf>,
    is_mariadb: bool,
    data: PathBuf,
    socket: PathBuf,
    first_words: PathBuf,
    user: Option<User>,
    password: String,
    set_up: SettingUp,
}

impl Mysql {
    fn set_up(program: &Path, has_its_files: bool, folder: &Path) -> Result<Self> {
        let is_mariadb = shell::capture(Command::new(program).arg("--version"))?.contains("MariaDB");
        let user = User::for_server(&["mysql"])?;
        let home = folder.join("mysql");
        User::make_folder(user, &home)?;
        let data = home.join("data");
        let (socket, first_words) = (home.join("socket"), home.join("first.sql"));
        let basedir = if has_its_files { program.ancestors().nth(2).map(Path::to_path_buf) } else { None };
        let password = password()?;
        // One statement a line, as the server reads them at each start.
        let grants = format!(
            "CREATE DATABASE IF NOT EXISTS punctual;\n\
             CREATE USER IF NOT EXISTS 'punctual'@'127.0.0.1' IDENTIFIED BY '{password}';\n\
             GRANT ALL PRIVILEGES ON *.* TO 'punctual'@'127.0.0.1' WITH GRANT OPTION;\n\
             ALTER USER 'root'@'localhost' IDENTIFIED BY '{password}';\n"
        );
        User::write(user, &first_words, &grants)?;
        let mut command = if is_mariadb {
            let beside = program
                .parent()
                .map(|folder| folder.join("mariadb-install-db"))
                .filter(|file| file.is_file());
            let script = beside.or_else(|| binaries::program("mariadb-install-db"));
            let mut command = Command::new(script.ok_or("mariadb-install-db is not to be found")?);
            command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
            command
        } else {
            let mut command = Command::new(program);
            command.args(["--no-defaults", "--initialize-insecure"]);
            command
        };
        command.arg(setting("datadir", &data));
        command.args(basedir.as_deref().map(|basedir| setting("basedir", basedir)));
        User::make_folder(user, &data)?;
        User::lets_run(user, &mut command);
        let set_up = SettingUp::begin(command)?;
        let program = program.to_path_buf();
        Ok(Self { program, basedir, is_mariadb, data, socket, first_words, user, password, set_up })
    }

    fn start(self, outlives: Outlives) -> Result<(Process, String)> {
        let Self { program, basedir, is_mariadb, data, socket, first_words, user, password, set_up } = self;
        set_up.finish()?;
        let port = free_port()?;
        let mut server = mortal(&program);
        server.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve"]);
        server.arg(format!("--port={port}")).arg(format!("--max-connections={CONNECTIONS}"));
        server.args(basedir.as_deref().map(|basedir| setting("basedir", basedir)));
        for (name, path) in [("datadir", &data), ("socket", &socket), ("init-file", &first_words)] {
            server.arg(setting(name, path));
        }
        server.arg(setting("pid-file", &data.join("pid")));
        if !is_mariadb {
            server.arg("--mysqlx=OFF");
        }
        if outlives == Outlives::Server {
            server.args(["--innodb-flush-method=nosync", "--loose-innodb-log-file-buffering"]);
            server.args(is_mariadb.then_some("--debug-no-sync"));
        }
        User::lets_run(user, &mut server);
        let process = Process::start(Recipe {
            server: Server::Mysql,
            command: server,
            ready: "ready for connections",
            stop: Signal::TERM,
            end: Signal::KILL,
            data: Some(data),
        })?;
        Ok((process, format!("mysql://punctual:{password}@127.0.0.1:{port}/punctual")))
    }
}

fn setting(name: &str, path: &Path) -> std::ffi::OsString {
    let mut setting = std::ffi::OsString::from(format!("--{name}="));
    setting.push(path);
    setting
}

/// Starts a pooler in transaction mode in front of the Postgres at `behind`.
fn pgbouncer(program: &Path, behind: &str, folder: &Path) -> Result<(Process, String)> {
    let address =
        Address::of(behind).ok_or("the URL of Postgres has no user, password, host and database")?;
    let Address { user, password, host, port, database } = address;
    let runner = User::for_server(&["pgbouncer", "postgres"])?;
    let home = folder.join("pgbouncer");
    User::make_folder(runner, &home)?;
    let (users, settings) = (home.join("users"), home.join("settings"));
    User::write(runner, &users, &format!("\"{user}\" \"{password}\"\n"))?;
    let listens = free_port()?;
    let text = format!(
        "[databases]\n* = host={host} port={port}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listens}\n\
         unix_socket_dir =\nauth_type = md5\nauth_file = {users}\npool_mode = transaction\n\
         max_client_conn = 2000\ndefault_pool_size = 100\nignore_startup_parameters = extra_float_digits\n",
        users = users.display(),
    );
    User::write(runner, &settings, &text)?;
    let mut server = mortal(program);
    server.arg(&settings);
    User::lets_run(runner, &mut server);
    let process = Process::start(Recipe {
        server: Server::Pgbouncer,
        command: server,
        ready: "process up",
        stop: Signal::TERM,
        end: Signal::KILL,
        data: None,
    })?;
    Ok((process, format!("postgres://{user}:{password}@127.0.0.1:{listens}/{database}")))
}

/// The parts of a URL `postgres://user:password@host:port/database`.
struct Address<'a> {
    user: &'a str,
    password: &'a str,
    host: &'a str,
    port: &'a str,
    database: &'a str,
}

impl<'a> Address<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let rest = url.split_once("://")?.1;
        let rest = rest.split('?').next()?;
        let (credentials, place) = rest.rsplit_once('@')?;
        let (user, password) = credentials.split_once(':')?;
        let (server, database) = place.split_once('/')?;
        let (host, port) = server.split_once(':').unwrap_or((server, "5432"));
        Some(Self { user, password, host, port, database })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_the_way_to_the_keeper() {
        let plan = Plan {
            outlives: Outlives::Server,
            postgres: Some("/p".into()),
            mysql: None,
            pgbouncer: Some(("/b".into(), Some("postgres://u:p@h/d".to_owned()))),
            mysql_has_its_files: true,
        };
        assert_eq!(Plan::from_json(&plan.to_json()).to_json(), plan.to_json());
        for outlives in [Outlives::Machine, Outlives::Server] {
            let plan = Plan { outlives, ..Plan::default() };
            assert_eq!(Plan::from_json(&plan.to_json()).outlives, outlives);
        }
    }

    #[test]
    fn an_address_has_its_parts() {
        let address = Address::of("postgres://u:p@127.0.0.1:7/d?x=1").unwrap();
        assert_eq!((address.user, address.password, address.host), ("u", "p", "127.0.0.1"));
        assert_eq!((address.port, address.database), ("7", "d"));
    }
}

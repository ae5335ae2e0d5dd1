//! `cargo xtask db`: throw-away database servers on this machine, for tests and for whoever wants to try something.
//!
//! Servers listen on the loopback address only, on free ports, with a password of their own, and with the durable
//! settings that a server has by default, unless they are for tests alone. Their data lie in a temporary folder. A
//! keeper, a process of its own, starts them, and ends them and deletes the data when the command that asked for them is
//! gone, in whatever way it went.
//!
//! A URL in the environment is used as it is, and nothing is started for it.

mod binaries;
mod install;
mod keeper;
mod kept;
mod process;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use self::keeper::Keeper;
use self::process::How;
pub(crate) use self::servers::Outlives;
use crate::shell::{self, Result, Verdict};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Start servers and keep them until `down`.
    Up(Up),
    /// Restart a server that `up` started, with the same data on the same port.
    Restart(Restart),
    /// End the servers that `up` started, and delete their data.
    Down,
    /// Print the URLs of the servers that `up` started, as lines for a shell.
    Url,
    /// Hold servers while standard input is open, or until told to end; started by the other commands.
    #[command(hide = true)]
    Keep(keeper::Options),
}

#[derive(Debug, Args)]
struct Up {
    /// Which servers.
    #[arg(value_enum, default_values_t = [Server::Postgres, Server::Mysql])]
    servers: Vec<Server>,
    /// A pooler in transaction mode in front of Postgres, too.
    #[arg(long)]
    pgbouncer: bool,
    #[command(flatten)]
    programs: Programs,
}

#[derive(Debug, Args)]
struct Restart {
    /// Which server.
    #[arg(value_enum)]
    server: Server,
    /// Kill it as a crash would, instead of letting it close its files.
    #[arg(long)]
    hard: bool,
    /// Leave it down for so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    down: u64,
}

/// Where servers' programs are, if not where they are looked for.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Programs {
    /// Use the Postgres whose `initdb` and `postgres` are in this folder.
    #[arg(long, value_name = "DIR")]
    postgres_bin: Option<PathBuf>,
    /// Use the MariaDB or MySQL whose server is in this folder.
    #[arg(long, value_name = "DIR")]
    mysql_bin: Option<PathBuf>,
}

/// A server that tests talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Server {
    /// Postgres.
    Postgres,
    /// MariaDB or MySQL.
    Mysql,
    /// A pooler in transaction mode in front of Postgres.
    Pgbouncer,
}

impl Server {
    /// The variable of the environment that has its URL.
    pub(crate) const fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "PUNCTUAL_POSTGRES_URL",
            Self::Mysql => "PUNCTUAL_MYSQL_URL",
            Self::Pgbouncer => "PUNCTUAL_PGBOUNCER_URL",
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn named(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|server| server.name() == name)
    }
}

/// The packages of the workspace whose tests talk to servers, and to which.
const NEEDS: &[(&str, &[Server])] = &[
    ("punctual-cli", &[Server::Postgres, Server::Mysql]),
    ("punctual-mysql", &[Server::Mysql]),
    ("punctual-postgres", &[Server::Postgres, Server::Pgbouncer]),
    ("punctual-tests", &[Server::Postgres, Server::Mysql]),
];

const NOTHING_UP: &str = "nothing is up: run `cargo xtask db up`";

/// URLs by server.
type Urls = BTreeMap<Server, String>;

/// Servers that are there as long as this is.
#[derive(Debug, Default)]
pub(crate) struct Running {
    urls: Urls,
    /// Ends what it started when it is dropped.
    keeper: Option<Keeper>,
}

impl Running {
    /// The variables that test programs read.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.urls.iter().map(|(server, url)| (server.variable(), url.as_str()))
    }

    /// The socket of whoever can restart what was started.
    pub(crate) fn keeper(&self) -> Option<&Path> {
        self.keeper.as_ref().map(Keeper::socket)
    }

    /// The URL of a server that was asked for.
    pub(crate) fn url(&self, server: Server) -> Option<&str> {
        self.urls.get(&server).map(String::as_str)
    }
}

/// Makes sure that servers are there: those that the environment names, those that `up` keeps, and new ones. What is
/// committed to new ones outlives what is said; of the others nothing is known.
///
/// # Errors
/// If a server is needed and can neither be found nor installed, or does not start.
pub(crate) fn running(wanted: &BTreeSet<Server>, programs: &Programs, outlives: Outlives) -> Result<Running> {
    let mut urls = Urls::new();
    for server in wanted {
        if let Some(url) = env::var(server.variable()).ok().filter(|url| !url.is_empty()) {
            urls.insert(*server, url);
        }
    }
    if let Some(kept) = kept::read()? {
        for (server, url) in kept.urls.into_iter().filter(|(server, _)| wanted.contains(server)) {
            urls.entry(server).or_insert(url);
        }
    }
    let missing: BTreeSet<Server> =
        wanted.iter().copied().filter(|server| !urls.contains_key(server)).collect();
    if missing.is_empty() {
        return Ok(Running { urls, keeper: None });
    }
    let plan = servers::plan(&missing, urls.get(&Server::Postgres), programs, outlives)?;
    let (keeper, started) = Keeper::while_we_live(&plan)?;
    urls.extend(started.into_iter().filter(|(server, _)| missing.contains(server)));
    Ok(Running { urls, keeper: Some(keeper) })
}

/// Starts a server that nobody else uses, whatever the environment names and `up` keeps, so that it may be restarted.
///
/// # Errors
/// As [`running`].
pub(crate) fn of_our_own(server: Server, programs: &Programs) -> Result<Running> {
    let plan = servers::plan(&BTreeSet::from([server]), None, programs, Outlives::Machine)?;
    let (keeper, urls) = Keeper::while_we_live(&plan)?;
    Ok(Running { urls, keeper: Some(keeper) })
}

/// The servers that the tests of packages need; of all members if none is named.
pub(crate) fn needs_of(packages: &[String]) -> Result<BTreeSet<Server>> {
    let members: Vec<String>;
    let packages = if packages.is_empty() {
        members = shell::members()?;
        &members
    } else {
        packages
    };
    let needed = NEEDS.iter().filter(|(name, _)| packages.iter().any(|package| package == name));
    Ok(needed.flat_map(|(_, servers)| *servers).copied().collect())
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    match &options.what {
        What::Up(up) => start(up),
        What::Restart(restart) => {
            let Some(kept) = kept::read()? else { return Err(NOTHING_UP.into()) };
            let how = if restart.hard { How::Hard } else { How::Orderly };
            kept.restart(restart.server, how, restart.down)?;
            println!("restarted");
            Ok(Verdict::Good)
        }
        What::Down => {
            match kept::read()? {
                Some(kept) => kept.end()?,
                None => println!("nothing is up"),
            }
            Ok(Verdict::Good)
        }
        What::Url => match kept::read()? {
            Some(kept) => {
                print_urls(&kept.urls);
                Ok(Verdict::Good)
            }
            None => Err(NOTHING_UP.into()),
        },
        What::Keep(options) => keeper::keep(options),
    }
}

fn start(up: &Up) -> Result<Verdict> {
    let mut wanted: BTreeSet<Server> = up.servers.iter().copied().collect();
    if up.pgbouncer {
        wanted.insert(Server::Pgbouncer);
    }
    if let Some(kept) = kept::read()? {
        if wanted.iter().any(|server| !kept.urls.contains_key(server)) {
            return Err("other servers are up already: run `cargo xtask db down` first".into());
        }
        println!("up already");
        print_urls(&kept.urls);
        return Ok(Verdict::Good);
    }
    let plan = servers::plan(&wanted, None, &up.programs, Outlives::Machine)?;
    let kept = Keeper::until_told(&plan)?;
    print_urls(&kept.urls);
    Ok(Verdict::Good)
}

fn print_urls(urls: &Urls) {
    for (server, url) in urls {
        println!("export {}='{url}'", server.variable());
    }
}

fn urls_of(value: &Value) -> Urls {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(name, url)| Some((Server::named(name)?, url.as_str()?.to_owned()))).collect()
}

fn urls_to_json(urls: &Urls) -> Value {
    urls.iter()
        .map(|(server, url)| (server.name(), Value::from(url.as_str())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_need_no_server_start_none() {
        let packages = ["punctual-core", "punctual-sqlite", "punctual-conformance"].map(str::to_owned);
        assert!(needs_of(&packages).unwrap().is_empty());
        assert_eq!(needs_of(&["punctual-mysql".to_owned()]).unwrap(), BTreeSet::from([Server::Mysql]));
    }

    #[test]
    fn urls_survive_the_way_through_json() {
        let urls = Urls::from([
            (Server::Postgres, "postgres://x".to_owned()),
            (Server::Mysql, "mysql://y".to_owned()),
        ]);
        assert_eq!(urls_of(&urls_to_json(&urls)), urls);
    }
}

//! `punctual epoch`: what every fencing token of a store begins with, and how it is raised after commits were lost.

mod silence;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use punctual_core::node::{NodeRecord, NodeState};
use punctual_core::{Fence, JobStore};
use serde_json::json;

use self::silence::Silence;
use crate::args::Db;
use crate::db::{self, Access};
use crate::look::print;
use crate::trouble::{Exit, Trouble};

const AFTER_HELP: &str = "\
Exit codes of these commands:
  0  done
  1  an error without a code of its own
  2  wrong usage
  4  the database cannot be used
  6  nodes are up, and nothing was changed";

/// Show the epoch of a store, or raise it after the store was restored from a backup.
///
/// Every fencing token begins with the epoch. A store that was restored, or failed over to a copy that was behind, hands
/// out smaller fences than it did before; in a higher epoch its tokens are larger than all before. docs/operations.md
/// says when and how: stop all nodes, restore, raise, start.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct EpochArgs {
    #[command(subcommand)]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) db: Db,
    /// Print one JSON object, on the last line of standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// Show the epoch.
    Show,
    /// Raise the epoch by one, and mark all nodes dead that the store takes for members.
    ///
    /// Nodes that still beat are a refusal: they may hold work of before the restore. Those of which the backup says that
    /// they are up are watched until they have been silent for as long as their profile asks for, 9 seconds by default.
    Raise {
        /// Make it larger than this one too: the largest that any node has seen, as nodes that stopped have said.
        #[arg(long, default_value_t = 0, value_name = "EPOCH")]
        above: u32,
        /// Do not look whether nodes still beat. Those that do are taken for dead; until they notice, at their next
        /// check-in, their jobs may run beside others of the same key.
        #[arg(long)]
        force: bool,
    },
}

/// The exit code of a refusal because of nodes that beat.
const NODES_ARE_UP: u8 = 6;

/// Runs the command; its exit codes are its own.
pub(crate) async fn run(args: EpochArgs) -> ExitCode {
    match tried(&args).await {
        Ok(code) => code,
        Err(trouble) => trouble.report(),
    }
}

async fn tried(args: &EpochArgs) -> Result<ExitCode, Trouble> {
    let store = db::open(&args.db, Access::AsItIs).await?;
    match args.what {
        What::Show => show(&*store, args).await,
        What::Raise { above, force } => raise(&*store, args, above, force).await,
    }
}

async fn show(store: &dyn JobStore, args: &EpochArgs) -> Result<ExitCode, Trouble> {
    let epoch = store.inspect().epoch().await?;
    print(&if args.json {
        json!({ "epoch": epoch }).to_string()
    } else {
        format!("epoch {epoch}; every fencing token begins with it")
    });
    Ok(ExitCode::SUCCESS)
}

async fn raise(store: &dyn JobStore, args: &EpochArgs, above: u32, force: bool) -> Result<ExitCode, Trouble> {
    let was = store.inspect().epoch().await?;
    let to = was.max(above).saturating_add(1);
    if to > Fence::MAX_EPOCH {
        let why = format!("there is no epoch above {}; the largest is {}", was.max(above), Fence::MAX_EPOCH);
        return Err(Trouble::new(Exit::Usage, why));
    }
    let up = up(store).await?;
    if !force && !up.is_empty() {
        if !args.json {
            eprintln!(
                "watching {} for {} s: do they still beat?",
                names(&up),
                silence::longest(&up).as_secs()
            );
        }
        if let Some(beats) = Silence::of(&up).watch(store).await? {
            return Ok(refused(args, &beats));
        }
    }
    let epoch = store.raise_epoch(to).await?;
    let ended: Vec<&str> = up.iter().map(|node| &*node.info.name).collect();
    print(&if args.json {
        json!({ "epoch": epoch, "was": was, "ended": ended }).to_string()
    } else {
        let ended = match ended.len() {
            0 => "no node was up".to_owned(),
            _ => format!("{} marked dead, whose work goes to whoever joins", names(&up)),
        };
        format!("epoch {epoch}, was {was}; {ended}\nnodes can be started")
    });
    Ok(ExitCode::SUCCESS)
}

fn refused(args: &EpochArgs, beats: &[NodeRecord]) -> ExitCode {
    let trouble = Trouble::new(Exit::Error, format!("{} still beat; nothing was changed", names(beats)))
        .hint("stop all nodes first; --force takes them for dead as they run");
    if args.json {
        let names: Vec<&str> = beats.iter().map(|node| &*node.info.name).collect();
        print(&json!({ "error": "nodes are up", "nodes": names }).to_string());
    }
    let _its_own_code = trouble.report();
    ExitCode::from(NODES_ARE_UP)
}

/// The nodes that the store takes for members.
async fn up(store: &dyn JobStore) -> Result<Vec<NodeRecord>, Trouble> {
    let nodes = store.inspect().nodes().await?;
    Ok(nodes.into_iter().filter(|node| node.state == NodeState::Up).collect())
}

/// `1 node (a)`, `5 nodes (a, b, c and 2 more)`.
fn names(nodes: &[NodeRecord]) -> String {
    const SHOWN: usize = 3;
    let some: Vec<&str> = nodes.iter().take(SHOWN).map(|node| &*node.info.name).collect();
    let more = match nodes.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let word = if nodes.len() == 1 { "node" } else { "nodes" };
    format!("{} {word} ({}{more})", nodes.len(), some.join(", "))
}

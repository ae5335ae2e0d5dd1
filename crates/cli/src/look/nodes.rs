//! `punctual nodes`: the members of the cluster and those that were.

use punctual_core::node::{NodeRecord, NodeState};
use punctual_core::{Profile, Timestamp};

use super::{columns, print, print_json, text};
use crate::args::NodesArgs;
use crate::db::{self, Access};
use crate::trouble::Trouble;

pub(crate) async fn nodes(args: NodesArgs) -> Result<(), Trouble> {
    let store = db::open(&args.db, Access::AsItIs).await?;
    let nodes = store.inspect().nodes().await?;
    if args.json {
        print_json(&serde_json::to_value(&nodes).unwrap_or_default());
        return Ok(());
    }
    if nodes.is_empty() {
        print("no node has joined yet; `punctual run FILE.toml` is one");
        return Ok(());
    }
    let now = store.now().await?;
    let rows = nodes.iter().map(|node| {
        vec![
            node.info.name.to_string(),
            state(node, now),
            node.seen.map(|seen| text::relative(seen, now)).unwrap_or_default(),
            text::relative(node.joined, now),
            node.info.capacity.to_string(),
            profile(node.info.profile).to_owned(),
            format!("{}:{}", node.info.host, node.info.pid),
            node.info.version.to_string(),
            node.info.id.to_string(),
        ]
    });
    let head = ["NAME", "STATE", "LAST BEAT", "JOINED", "CAPACITY", "PROFILE", "PROCESS", "VERSION", "ID"];
    print(&columns(&head, &[4], rows));
    Ok(())
}

/// The state, with a doubt where the beats have stopped and nobody was there to say so.
fn state(node: &NodeRecord, now: Timestamp) -> String {
    let silent = node.seen.is_some_and(|seen| now.since(seen) > node.info.profile.take);
    match node.state {
        NodeState::Up if silent => "silent".to_owned(),
        NodeState::Up if node.standby => "standby".to_owned(),
        NodeState::Up => "up".to_owned(),
        NodeState::Left => "left".to_owned(),
        NodeState::Dead => "dead".to_owned(),
    }
}

fn profile(profile: Profile) -> &'static str {
    let names = ["default", "fast", "calm", "failover-tolerant"];
    names.into_iter().find(|name| Profile::named(name) == Some(profile)).unwrap_or("custom")
}

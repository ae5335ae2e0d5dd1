//! `profile`: where the time of `fire` goes, by what nodes ask of their stores.

use serde_json::{Value, json};

use super::options::Options;
use super::recurring::{FIRE, measure};
use super::show::{count, figure, progress, rounded};
use super::spent::Spent;
use super::window::{Checks, Window};
use super::{Result, Sound, show};

/// Numbers of nodes, where none is given.
const CREWS: [u32; 2] = [1, 4];

pub(crate) async fn run(options: &Options) -> Result<Sound> {
    let mut report = None;
    let mut windows = Vec::new();
    for nodes in options.crews(&CREWS) {
        let window = measure(&FIRE, options, nodes, Some(options.window()), &mut report).await?;
        progress(format_args!("{} watched: {} firings/s", show::nodes(nodes), figure(window.rate())));
        windows.push((nodes, window));
    }
    let report = report.ok_or("nothing was measured")?;
    for (nodes, window) in &windows {
        let Costs { wall, nodes: of_nodes, server, others } = Costs::of(window);
        report.note(format_args!(
            "\n{}: {} firings/s. For each firing {} µs went by; the nodes' processor had {} of them, the server's {}, \
             and others' {}.",
            show::nodes(*nodes),
            figure(window.rate()),
            figure(wall),
            figure(of_nodes),
            figure(server),
            figure(others),
        ));
        report.table(
            &["step", "statement", "a 1,000 firings", "µs each", "µs a firing", "share"],
            window.spent.iter().map(|spent| {
                let Cost { often, each, firing, share } = Cost::of(window, spent);
                let mut cells = vec![spent.step.clone(), spent.what.clone()];
                cells.extend([often, each, firing].map(figure));
                cells.push(format!("{:.0} %", share * 100.0));
                cells
            }),
        );
    }
    report.note("A statement takes from its beginning to its answer, as the node sees it: several may be under way at once, and");
    report.note("a commit waits for the disk. Watching costs: the rate is lower than that of `fire`.");
    let checks = Checks::of(windows.iter().map(|(_, window)| window));
    checks.note(&report);
    let crews = windows.iter().flat_map(|(nodes, window)| to_json(*nodes, window));
    let figures = json!({
        "triggers": options.triggers, "costs": windows.iter().map(|(nodes, window)| {
            let Costs { wall, nodes: of_nodes, server, others } = Costs::of(window);
            json!({
                "nodes": nodes, "firings_per_second": rounded(window.rate()), "micros_per_firing": rounded(wall),
                "node_cpu_micros": rounded(of_nodes), "server_cpu_micros": rounded(server), "other_cpu_micros": rounded(others),
            })
        }).collect::<Vec<_>>(),
        "statements": crews.collect::<Vec<_>>(), "checks": checks.to_json(),
    });
    report.end(options.store.name(), figures);
    Ok(checks.sound())
}

/// What a firing takes of the time and of the processors, in microseconds.
struct Costs {
    wall: f64,
    nodes: f64,
    server: f64,
    others: f64,
}

impl Costs {
    fn of(window: &Window) -> Self {
        let each = |seconds: f64| window.each(seconds * 1e6);
        Self {
            wall: each(window.seconds),
            nodes: each(window.node_cpu),
            server: each(window.server_cpu),
            others: each(window.others * window.seconds * super::window::processors()),
        }
    }
}

/// What a sort of statements takes.
struct Cost {
    /// How often it is sent for a thousand firings.
    often: f64,
    /// How long one takes, in microseconds.
    each: f64,
    /// How long they take for each firing.
    firing: f64,
    /// The part of all waiting for statements.
    share: f64,
}

impl Cost {
    fn of(window: &Window, spent: &Spent) -> Self {
        let all: u64 = window.spent.iter().map(|spent| spent.micros).sum();
        let micros = count(spent.micros);
        Self {
            often: window.each(count(spent.count) * 1e3),
            each: micros / count(spent.count.max(1)),
            firing: window.each(micros),
            share: micros / count(all.max(1)),
        }
    }
}

fn to_json(nodes: u32, window: &Window) -> impl Iterator<Item = Value> {
    window.spent.iter().map(move |spent| {
        let Cost { often, each, firing, share } = Cost::of(window, spent);
        json!({
            "nodes": nodes, "step": spent.step, "statement": spent.what, "per_1000_firings": rounded(often),
            "micros_each": rounded(each), "micros_per_firing": rounded(firing), "share": rounded(share),
        })
    })
}

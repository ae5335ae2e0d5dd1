//! `commits`: what becomes of firings where each commit takes longer, as on a slow disk or a distant one.

use punctual_tests::place::Kind;
use serde_json::{Value, json};

use super::ground::Ground;
use super::options::Options;
use super::recurring::FIRE;
use super::scale::ratio;
use super::show::{Report, Spread, figure, progress, rounded};
use super::window::{Checks, Window, figures, watch};
use super::{Result, Sound, show};

/// How much of the rate is to be left.
const WANTED: f64 = 0.8;

pub(crate) async fn run(options: &Options) -> Result<Sound> {
    let delay = options.commit_delay_ms;
    if options.store.kind() != Kind::Postgres {
        return Err("only Postgres can be told to take longer for each commit; use --store postgres".into());
    }
    let nodes = options.nodes.unwrap_or(1);
    let mut cases = [
        (0, Ground::new(Kind::Postgres, None).await?, Vec::new()),
        (delay, Ground::new(Kind::Postgres, None).await?, Vec::new()),
    ];
    let [(_, first, _), (_, slow, _)] = &mut cases;
    slow.run(&format!(
        "DO $$ BEGIN
           EXECUTE format('ALTER DATABASE %I SET commit_delay = {}', current_database());
           EXECUTE format('ALTER DATABASE %I SET commit_siblings = 0', current_database());
         END $$",
        delay * 1_000
    ))
    .await?;
    let what = format!(
        "{}, {} triggers that are always behind, without and with {delay} ms more for each commit (commit_delay)",
        show::nodes(nodes),
        options.triggers,
    );
    let report = Report::begin("commits", &what, (options, options.settings_of_windows()), first).await?;
    for (_, ground, _) in &cases {
        FIRE.put(ground, options.triggers).await?;
    }
    for run in 1..=options.runs {
        for (delay, ground, windows) in &mut cases {
            ground.begin_anew().await?;
            ground.tidy_up().await?;
            let seat = options.seat(ground.location());
            let window = watch(ground, options, (&seat, nodes), None).await?;
            progress(format_args!("run {run}, {delay} ms: {} firings/s", figure(window.rate())));
            windows.push(window);
        }
    }
    let rates = cases.each_ref().map(|(_, _, windows)| windows.iter().map(Window::rate).collect::<Vec<_>>());
    let [plain, _] = &rates;
    let ratios: Vec<Spread> = rates.iter().map(|rates| ratio(rates, plain)).collect();
    let rows = cases.iter().zip(&ratios);
    report.table(
        &["commit takes ms more", "firings/s", "min", "max", "commits/firing", "late p50 ms", "ratio"],
        rows.clone().map(|((delay, _, windows), ratio)| {
            let rate = Spread::of(windows.iter().map(Window::rate));
            let commits = Spread::of(windows.iter().map(|window| window.each(window.commits)));
            let late = Spread::of(windows.iter().map(|window| window.late.at(500)));
            let mut cells = vec![delay.to_string()];
            cells.extend([rate.median, rate.min, rate.max, commits.median, late.median].map(figure));
            cells.push(ratio.shown());
            cells
        }),
    );
    let least = ratios.iter().map(|ratio| ratio.median).fold(f64::INFINITY, f64::min);
    let within = least >= WANTED;
    let verdict = if within { "as wanted" } else { "LESS THAN WANTED" };
    report.note("The ratio is taken run by run; its median, and the smallest and largest, are shown.");
    report.note(format_args!("At least {WANTED} is wanted: {verdict}."));
    let checks = Checks::of(cases.iter().flat_map(|(_, _, windows)| windows));
    checks.note(&report);
    let cases = rows.map(|((delay, _, windows), ratio)| {
        let figures = figures(windows, None).into_iter();
        let mut object: serde_json::Map<_, _> =
            figures.map(|(name, spread)| (name.to_owned(), spread.to_json())).collect();
        object.insert("commit_delay_ms".to_owned(), (*delay).into());
        object.insert("ratio".to_owned(), ratio.to_json());
        Value::from(object)
    });
    let figures = json!({
        "nodes": nodes, "triggers": options.triggers, "cases": cases.collect::<Vec<_>>(),
        "ratio": rounded(least), "wanted": WANTED, "within": within, "checks": checks.to_json(),
    });
    report.end(options.store.name(), figures);
    Ok(checks.sound())
}

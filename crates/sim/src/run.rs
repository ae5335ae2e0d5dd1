//! Checking models, and saying what was found.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::alarm::Alarm;
use crate::firing::{Firing, Reach, Scene, Sight};
use crate::lease::{Case, Leases};
use crate::migration::Migration;
use crate::mutant::Mutant;
use crate::steps::Dialect;

/// What came out of the check of one model.
#[derive(Clone, Debug)]
pub struct Found {
    /// The model.
    pub name: String,
    /// How many different states there are.
    pub states: usize,
    /// The length of the longest way that was looked at.
    pub depth: usize,
    /// How long it took.
    pub seconds: f64,
    /// The promises that were broken, each with a way to the break.
    pub broken: Vec<(&'static str, Vec<String>)>,
    /// What was seen on the way.
    pub seen: Vec<&'static str>,
}

pub(crate) fn firing(scene: Scene, dialect: Dialect, reach: Reach, mutant: Option<Mutant>) -> Found {
    let model = Firing::new(scene, dialect, reach, mutant);
    let sights = model.sights.clone();
    let name = format!("{} on {}", scene.name(), dialect.name());
    let mut found = check(name, model, mutant.map(Mutant::alarm));
    found.seen = Sight::ALL.iter().filter(|sight| sights.has(**sight)).map(|sight| sight.what()).collect();
    found
}

#[expect(clippy::disallowed_methods, reason = "how long a check took is no matter of the protocol")]
fn check<M>(name: String, model: M, wanted: Option<Alarm>) -> Found
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + std::hash::Hash + std::fmt::Debug + Send + Sync + 'static,
    M::Action: Clone + PartialEq + std::fmt::Debug + Send + Sync,
{
    let begun = Instant::now();
    let until = match wanted {
        Some(alarm) => HasDiscoveries::AnyOf([alarm.name()].into()),
        None => HasDiscoveries::AnyFailures,
    };
    let checker =
        model.checker().finish_when(until).spawn_dfs().join();
    let mut broken: Vec<_> = checker
        .discoveries()
        .into_iter()
        .map(|(name, path)| {
            let actions = path.into_actions();
            (name, actions.into_iter().map(|action| format!("{action:?}")).collect())
        })
        .collect();
    broken.sort();
    Found {
        name,
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        seconds: begun.elapsed().as_secs_f64(),
        broken,
        seen: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes() {
        for scene in Scene::ALL {
            for dialect in Dialect::ALL {
                let found = firing(scene, dialect, Reach::Quick, None);
                println!(
                    "{} {} {} {:.2} {:?}",
                    found.name, found.states, found.depth, found.seconds, found.broken
                );
            }
        }
    }
}

pub fn try_two(args: &[String]) {
    let reach = match args[0].as_str() {
        "quick" => Reach::Quick,
        "pr" => Reach::Pr,
        _ => Reach::Nightly,
    };
    let mutants = [
        None,
        Some(Mutant::M9),
        Some(Mutant::M10),
        Some(Mutant::M11),
        Some(Mutant::M12),
        Some(Mutant::M26),
        Some(Mutant::M27),
        Some(Mutant::M30),
        Some(Mutant::M24),
        Some(Mutant::M25),
    ];
    for m in mutants {
        for case in Case::ALL {
            if let Some(m) = m
                && Case::of(m) != case
            {
                continue;
            }
            let found = check(case.name().to_owned(), Leases::new(case, reach, m), m.map(Mutant::alarm));
            println!(
                "{m:?} {} {} {} {:.2} {:?}",
                found.name, found.states, found.depth, found.seconds, found.broken
            );
        }
        let found = check("migration".to_owned(), Migration::new(reach, m), m.map(Mutant::alarm));
        println!(
            "{m:?} {} {} {} {:.2} {:?}",
            found.name, found.states, found.depth, found.seconds, found.broken
        );
    }
}

pub fn try_one(args: &[String]) {
    if args.get(1).is_some_and(|a| a == "two") {
        return try_two(args);
    }

    let reach = match args[0].as_str() {
        "quick" => Reach::Quick,
        "pr" => Reach::Pr,
        _ => Reach::Nightly,
    };
    for scene in Scene::ALL {
        if args.len() > 1 && !scene.name().contains(&args[1]) {
            continue;
        }
        for dialect in Dialect::ALL {
            if args.len() > 2 && !dialect.name().contains(&args[2]) {
                continue;
            }
            let mutant = args.get(3).and_then(|m| Mutant::ALL.iter().find(|x| x.name() == m)).copied();
            let found = firing(scene, dialect, reach, mutant);
            println!("{} {} {} {:.2}", found.name, found.states, found.depth, found.seconds);
            for (name, path) in &found.broken {
                println!("   {name} {path:?}");
            }
            let unseen: Vec<_> =
                Sight::ALL.iter().map(|s| s.what()).filter(|s| !found.seen.contains(s)).collect();
            println!("   unseen: {}", unseen.join(", "));
        }
    }
}

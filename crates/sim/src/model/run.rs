//! Checking models, and saying what was found.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::model::alarm::Alarm;
use crate::model::firing::{Firing, Scene, Sight};
use crate::model::lease::{Case, Leases};
use crate::model::migration::Migration;
use crate::model::mutant::{Mutant, Place};
use crate::model::steps::Dialect;

pub use crate::model::firing::Reach;

/// What came out of the check of one model.
#[derive(Clone, Debug)]
pub struct Found {
    /// The model.
    pub name: String,
    /// How many different states were looked at.
    pub states: usize,
    /// The length of the longest way.
    pub depth: usize,
    /// How long it took.
    pub seconds: f64,
    /// The promises that were broken, each with a way to the break.
    pub broken: Vec<(&'static str, Vec<String>)>,
    /// What happened somewhere in the model.
    pub seen: Vec<&'static str>,
    /// What the model must show and did not.
    pub unseen: Vec<&'static str>,
}

/// A mistake, and what came of looking for it.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Its name: `M4`.
    pub mutant: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// The property that is meant to find it.
    pub meant: &'static str,
    /// What was found.
    pub found: Found,
}

impl Hunt {
    /// Whether the property that is meant for it has found it.
    pub fn is_found(&self) -> bool {
        self.found.broken.iter().any(|(name, _)| *name == self.meant)
    }
}

/// The promises that the models check, with what each says.
pub fn promises() -> Vec<(&'static str, &'static str)> {
    Alarm::ALL.iter().map(|alarm| (alarm.name(), alarm.what())).collect()
}

/// What the models of firings must show between them.
pub fn sights() -> Vec<&'static str> {
    Sight::ALL.iter().map(|sight| sight.what()).collect()
}

/// The names of all mistakes.
pub fn mutants() -> Vec<&'static str> {
    Mutant::ALL.iter().map(|mutant| mutant.name()).collect()
}

/// Checks every model without a mistake, and tells of each when it is done.
pub fn check_all(reach: Reach, mut tell: impl FnMut(&Found)) -> Vec<Found> {
    let mut all = Vec::new();
    let mut done = |found: Found| {
        tell(&found);
        all.push(found);
    };
    for scene in Scene::ALL {
        for dialect in Dialect::ALL {
            if (reach, scene, dialect) == (Reach::Quick, Scene::Succession, Dialect::Postgres) {
                // As many states as all other quick models of Postgres have together.
                continue;
            }
            done(firing(scene, dialect, reach, None));
        }
    }
    for case in Case::ALL {
        done(check(case.name().to_owned(), Leases::new(case, reach, None), None));
    }
    done(check("migration".to_owned(), Migration::new(reach, None), None));
    all
}

/// Looks for one mistake, or for all of them, each in the smallest model that has it.
pub fn hunt(name: Option<&str>, mut tell: impl FnMut(&Hunt)) -> Vec<Hunt> {
    let wanted = Mutant::ALL.iter().filter(|mutant| name.is_none_or(|name| mutant.name() == name));
    let mut all = Vec::new();
    for mutant in wanted.copied() {
        let (reach, alarm) = (Reach::Quick, Some(mutant.alarm()));
        let found = match mutant.place() {
            Place::Firing(scene, dialect) => firing(scene, dialect, reach, Some(mutant)),
            Place::Lease => {
                let case = Case::of(mutant);
                check(case.name().to_owned(), Leases::new(case, reach, Some(mutant)), alarm)
            }
            Place::Migration => check("migration".to_owned(), Migration::new(reach, Some(mutant)), alarm),
        };
        let (what, meant) = (mutant.what(), mutant.alarm().name());
        let hunt = Hunt { mutant: mutant.name(), what, meant, found };
        tell(&hunt);
        all.push(hunt);
    }
    all
}

fn firing(scene: Scene, dialect: Dialect, reach: Reach, mutant: Option<Mutant>) -> Found {
    let model = Firing::new(scene, dialect, reach, mutant);
    let sights = model.sights.clone();
    let name = format!("{} on {}", scene.name(), dialect.name());
    let mut found = check(name, model, mutant.map(Mutant::alarm));
    found.seen.extend(Sight::ALL.iter().filter(|sight| sights.has(**sight)).map(|sight| sight.what()));
    found
}

#[expect(clippy::disallowed_methods, reason = "how long a check took is no matter of the protocol")]
fn check<M>(name: String, model: M, wanted: Option<Alarm>) -> Found
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + Hash + Debug + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Debug + Send + Sync,
{
    let begun = Instant::now();
    let until = match wanted {
        Some(alarm) => HasDiscoveries::AnyOf([alarm.name()].into()),
        None => HasDiscoveries::AnyFailures,
    };
    let shows: Vec<&'static str> = model
        .properties()
        .iter()
        .filter(|property| property.expectation == Expectation::Sometimes)
        .map(|property| property.name)
        .collect();
    let checker = model.checker().finish_when(until).spawn_dfs().join();
    let (mut broken, mut seen) = (Vec::new(), Vec::new());
    for (name, path) in checker.discoveries() {
        if shows.contains(&name) {
            seen.push(name);
        } else {
            let actions = path.into_actions();
            broken.push((name, actions.into_iter().map(|action| format!("{action:?}")).collect()));
        }
    }
    broken.sort();
    let unseen = shows.into_iter().filter(|name| !seen.contains(name)).collect();
    Found {
        name,
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        seconds: begun.elapsed().as_secs_f64(),
        broken,
        seen,
        unseen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_protocol_breaks_no_promise_and_everything_happens_somewhere() {
        let all = check_all(Reach::Quick, |_| {});
        for found in &all {
            assert_eq!(found.broken, [], "{}", found.name);
            assert!(found.unseen.is_empty(), "{}: {:?}", found.name, found.unseen);
        }
        for sight in sights() {
            assert!(all.iter().any(|found| found.seen.contains(&sight)), "never: {sight}");
        }
    }

    #[test]
    fn each_mistake_is_found_by_the_property_that_is_meant_for_it() {
        let escaped: Vec<_> =
            hunt(None, |_| {}).into_iter().filter(|hunt| !hunt.is_found()).map(|hunt| hunt.mutant).collect();
        assert!(escaped.is_empty(), "{escaped:?}");
    }
}

//! The report: what was tested, what came out, and which level the store has reached.

use std::collections::BTreeMap;
use std::path::Path;

use punctual_core::{Error, Result};
use serde_json::{Value, json};

use crate::case::{Case, Section};

/// The environment variable that names the file of the report.
pub const REPORT_VARIABLE: &str = "PUNCTUAL_CONFORMANCE_REPORT";

/// What came out of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store keeps the sentence.
    Passed,
    /// It does not.
    Failed(String),
    /// The store cannot be asked.
    NotApplicable(String),
}

/// A case with its outcome.
#[derive(Clone, Debug)]
pub struct Tested {
    /// The case.
    pub case: Case,
    /// What came out.
    pub outcome: Outcome,
}

/// What a store may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Some case failed.
    None,
    /// One process: section A.
    Basic,
    /// Several processes: sections A to D, and claims that several may make.
    Clustered,
    /// Several processes of different versions: section E too.
    Migrating,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::Clustered => "clustered",
            Self::Migrating => "migrating",
        }
    }
}

/// The outcomes of one run on one store.
#[derive(Clone, Debug)]
pub struct Report {
    store: &'static str,
    shared: bool,
    tested: Vec<Tested>,
}

impl Report {
    /// A report on `store`; `shared` says whether several processes may share one, and claim from it.
    pub fn new(store: &'static str, shared: bool, mut tested: Vec<Tested>) -> Self {
        tested.sort_by_key(|tested| (tested.case.section, tested.case.name));
        Self { store, shared, tested }
    }

    /// The highest level whose cases were all run and passed.
    pub fn level(&self) -> Level {
        let failed = self.tested.iter().any(|tested| matches!(tested.outcome, Outcome::Failed(_)));
        let ran = |section| {
            let of = |tested: &&Tested| tested.case.section == section && tested.outcome == Outcome::Passed;
            self.tested.iter().any(|tested| of(&tested))
        };
        let whole = |section| {
            let mut of = self.tested.iter().filter(|tested| tested.case.section == section);
            of.all(|tested| tested.outcome == Outcome::Passed)
        };
        match () {
            () if failed || !ran(Section::A) => Level::None,
            () if !self.shared || ![Section::B, Section::C, Section::D].into_iter().all(ran) => Level::Basic,
            () if !ran(Section::E) || !whole(Section::E) => Level::Clustered,
            () => Level::Migrating,
        }
    }

    /// The report as JSON.
    pub fn to_json(&self) -> Value {
        let mut sections: BTreeMap<&str, Counts> = BTreeMap::new();
        let mut all = Counts::default();
        for tested in &self.tested {
            all.add(&tested.outcome);
            sections.entry(tested.case.section.letter()).or_default().add(&tested.outcome);
        }
        let results: Vec<Value> = self.tested.iter().map(result).collect();
        let mut report = all.to_json();
        report["store"] = json!(self.store);
        report["level"] = json!(self.level().as_str());
        report["sections"] =
            sections.into_iter().map(|(letter, counts)| (letter, counts.to_json())).collect();
        report["results"] = json!(results);
        report
    }

    /// Writes the report where [`REPORT_VARIABLE`] says, if it is set.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be written.
    pub fn write_where_asked(&self) -> Result<()> {
        match std::env::var_os(REPORT_VARIABLE) {
            Some(path) => self.write(Path::new(&path)),
            None => Ok(()),
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, format!("{}\n", self.to_json())).map_err(|error| {
            let why = format!("{} cannot be written; see {REPORT_VARIABLE}", path.display());
            Error::unavailable("report", why).with_source(error)
        })
    }
}

#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
    not_applicable: u64,
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::NotApplicable(_) => self.not_applicable += 1,
        }
    }

    fn to_json(&self) -> Value {
        let Self { passed, failed, not_applicable } = self;
        let cases = passed + failed + not_applicable;
        json!({ "cases": cases, "passed": passed, "failed": failed, "not_applicable": not_applicable })
    }
}

fn result(tested: &Tested) -> Value {
    let Tested { case, outcome } = tested;
    let mut line = json!({
        "name": case.name, "section": case.section.letter(), "sentence": case.sentence(),
    });
    let (word, why) = match outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Failed(why) => ("failed", Some(why)),
        Outcome::NotApplicable(why) => ("not_applicable", Some(why)),
    };
    line["outcome"] = json!(word);
    if let Some(why) = why {
        line["why"] = json!(why);
    }
    line
}

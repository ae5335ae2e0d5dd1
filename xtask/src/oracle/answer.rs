//! The questions of a case, what Quartz answered, and what we answer.

use chrono::SecondsFormat;
use punctual_core::Timestamp;
use punctual_core::calendar::Calendar;
use punctual_core::quartz::{self, Position, Progress, Trigger, TriggerType};
use serde_json::{Value, json};

use super::define;
use super::zones::Zones;

/// One question of a case, with one answer or a list of them.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// What was asked, unique within the case.
    pub(super) question: String,
    pub(super) expected: Value,
    pub(super) got: Value,
    /// Whether Quartz's answer is marked as wrong.
    pub(super) marked: bool,
}

impl Answer {
    pub(super) fn is_same(&self) -> bool {
        self.expected == self.got
    }

    /// How many single answers this is, and how many of them differ.
    ///
    /// A list counts place by place, the longer list's places all: one instant too many at its front moves all the
    /// others and counts them all, so the figure is never smaller than the difference of the two lists as sets.
    /// Anything else, a whole state included, is one answer.
    pub(super) fn places(&self) -> Places {
        let (Value::Array(expected), Value::Array(got)) = (&self.expected, &self.got) else {
            let all = self.expected.as_array().map_or(1, |list| list.len().max(1));
            return Places { all: count(all), different: if self.is_same() { 0 } else { count(all) } };
        };
        // Two empty lists agree that there is nothing: that is an answer too.
        let all = expected.len().max(got.len()).max(1);
        let same = expected.iter().zip(got).filter(|(expected, got)| expected == got).count();
        let different = expected.len().max(got.len()) - same;
        Places { all: count(all), different: count(different) }
    }
}

/// Single answers of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) all: u64,
    pub(super) different: u64,
}

fn count(places: usize) -> u64 {
    u64::try_from(places).unwrap_or(u64::MAX)
}

/// How many instants the oracle lists at most.
const NEXT: usize = 8;
const FIRES: usize = 12;
const FIRES_AFTER_MISFIRE: usize = 5;

/// All answers of a case.
pub(super) fn all(case: &Value, zones: &Zones) -> Result<Vec<Answer>, String> {
    match define::text(case, "kind")? {
        "next" => next(case, zones),
        "parse" => parse(case),
        "satisfied" => satisfied(case, zones),
        "trigger" => fires(case, zones),
        "misfire" => misfire(case, zones),
        "calendar" => included(case, zones),
        other => Err(format!("a case of kind {other} is not known")),
    }
}

fn parse(case: &Value) -> Result<Vec<Answer>, String> {
    let expression = define::text(case, "expr")?;
    let got = punctual_core::schedule::Cron::quartz(expression, punctual_core::Zone::utc()).is_ok();
    Ok(vec![main(case, "valid", case["valid"].clone(), got.into())])
}

fn satisfied(case: &Value, zones: &Zones) -> Result<Vec<Answer>, String> {
    let at = define::instant(&case["at"])?;
    let got = match define::cron(case, zones) {
        Ok(cron) => cron.matches(at).into(),
        Err(error) => refused(&error),
    };
    Ok(vec![main(case, "satisfied", case["satisfied"].clone(), got)])
}

fn next(case: &Value, zones: &Zones) -> Result<Vec<Answer>, String> {
    let after = define::instant(&case["after"])?;
    let (next, ended) = match define::cron(case, zones).and_then(define::endless) {
        Ok(trigger) => {
            let following = |t: &Timestamp| trigger.fire_time_after(&Progress::default(), *t);
            let all: Vec<Timestamp> =
                std::iter::successors(following(&after), following).take(NEXT).collect();
            // Whether there is more after a full list was not asked.
            (instants(&all), (all.len() < NEXT).into())
        }
        Err(error) => (refused(&error), refused(&error)),
    };
    Ok(vec![
        main(case, "next", case["next"].clone(), next),
        main(case, "ended", case["ended"].clone(), ended),
    ])
}

fn refused(error: &str) -> Value {
    format!("refused: {error}").into()
}

fn fires(case: &Value, zones: &Zones) -> Result<Vec<Answer>, String> {
    let trigger = define::trigger(&case["trigger"], zones)?;
    let calendar = define::calendar(&case["calendar"], zones)?;
    let calendar = calendar.as_ref();
    let first = trigger.first(calendar);
    let (fires, position) = run(&trigger, first, calendar, FIRES);
    let mut answers = vec![
        main(case, "first", case["first"].clone(), shown(first.next)),
        main(case, "fires", case["fires"].clone(), instants(&fires)),
        main(case, "ended", case["ended"].clone(), position.next.is_none().into()),
        main(case, "next_fire_time", case["next_fire_time"].clone(), shown(position.next)),
        main(case, "may_fire_again", case["may_fire_again"].clone(), position.may_fire_again().into()),
        main(case, "times_triggered", case["times_triggered"].clone(), times(&trigger, &position)),
        field(case, "final_fire_time", shown(trigger.final_fire_time())),
    ];
    for sample in case["fire_time_after"].as_array().into_iter().flatten() {
        let after = define::instant(&sample["after"])?;
        let got = shown(trigger.fire_time_after(&Progress::default(), after));
        let question = format!("fire time after {}", sample["after"]);
        let marked = sample.get("quartz_bug").is_some();
        answers.push(Answer { question, expected: sample["next"].clone(), got, marked });
    }
    Ok(answers)
}

fn misfire(case: &Value, zones: &Zones) -> Result<Vec<Answer>, String> {
    let trigger = define::trigger(&case["trigger"], zones)?;
    let calendar = define::calendar(&case["calendar"], zones)?;
    let calendar = calendar.as_ref();
    let instruction = define::instruction(case, &trigger)?;
    let now = define::instant(&case["now"])?;
    let mut before = trigger.first(calendar);
    for _ in 0..case["triggered_calls"].as_u64().unwrap_or(0) {
        before = trigger.triggered(&before, calendar);
    }
    let after = trigger.after_misfire(instruction, &before, calendar, now);
    let (fires, _) = run(&trigger, after, calendar, FIRES_AFTER_MISFIRE);
    let definition = &case["trigger"];
    Ok(vec![
        main(case, "before", case["before"].clone(), state(definition, &trigger, &before)),
        main(case, "after", case["after"].clone(), state(definition, &trigger, &after)),
        main(case, "fires_after", case["fires_after"].clone(), instants(&fires)),
    ])
}

fn included(case: &Value, zones: &Zones) -> Result<Vec<Answer>, String> {
    let calendar = define::calendar(&case["calendar"], zones)?.ok_or("there is no calendar")?;
    let mut answers = Vec::new();
    for sample in case["samples"].as_array().into_iter().flatten() {
        let t = define::instant(&sample["t"])?;
        let next = shown(quartz::next_included(&calendar, t));
        for (name, got) in [("included", calendar.includes(t).into()), ("next_included", next)] {
            let answer = field(sample, name, got);
            answers.push(Answer { question: format!("{name} at {}", sample["t"]), ..answer });
        }
    }
    Ok(answers)
}

/// Lets a trigger fire up to `most` times; the fires, and where it stands after them.
fn run(
    trigger: &Trigger,
    first: Position,
    calendar: Option<&Calendar>,
    most: usize,
) -> (Vec<Timestamp>, Position) {
    let (mut fires, mut position) = (Vec::new(), first);
    while let Some(next) = position.next.filter(|_| fires.len() < most) {
        fires.push(next);
        position = trigger.triggered(&position, calendar);
    }
    (fires, position)
}

/// The state as the oracle writes it.
fn state(definition: &Value, trigger: &Trigger, position: &Position) -> Value {
    let progress = position.progress;
    let start = progress.start.map_or_else(
        || match trigger.trigger_type() {
            // The start of a cron trigger loses its milliseconds.
            TriggerType::Cron => shown(define::instant(&definition["start"]).ok().map(whole_second)),
            _ => definition["start"].clone(),
        },
        |start| shown(Some(start)),
    );
    let repeat = definition.get("repeat_count").cloned().unwrap_or_default();
    json!({
        "next_fire_time": shown(position.next),
        "previous_fire_time": shown(position.previous),
        "start_time": start,
        "end_time": definition["end"],
        "repeat_count": progress.repeat.map_or(repeat, Value::from),
        "times_triggered": times(trigger, position),
        "may_fire_again": position.may_fire_again(),
    })
}

fn times(trigger: &Trigger, position: &Position) -> Value {
    match trigger.trigger_type() {
        TriggerType::Cron => Value::Null,
        _ => position.progress.triggered.into(),
    }
}

fn whole_second(t: Timestamp) -> Timestamp {
    Timestamp::from_secs(t.as_micros().div_euclid(1_000_000))
}

/// A part of the main answer: `quartz_bug` marks it, or `quartz_bug_…` it alone.
fn main(case: &Value, name: &str, expected: Value, got: Value) -> Answer {
    let marked = case.get("quartz_bug").is_some() || is_marked(case, name);
    Answer { question: name.to_owned(), expected, got, marked }
}

/// A field that only its own mark concerns.
fn field(case: &Value, name: &str, got: Value) -> Answer {
    Answer { question: name.to_owned(), expected: case[name].clone(), got, marked: is_marked(case, name) }
}

fn is_marked(case: &Value, name: &str) -> bool {
    case.get(format!("quartz_bug_{name}")).is_some()
}

fn shown(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| at.to_chrono().to_rfc3339_opts(SecondsFormat::Millis, true).into())
}

fn instants(all: &[Timestamp]) -> Value {
    all.iter().map(|&at| shown(Some(at))).collect()
}

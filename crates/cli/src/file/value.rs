//! Values that a schedule file writes in a way of its own: durations, times of day, zones, policies.

use std::fmt;
use std::time::Duration;

use chrono::NaiveTime;
use punctual::{MisfirePolicy, OnNodeLoss, Profile, Zone};
use punctual_core::quartz::Instruction;
use punctual_core::schedule::{Dst, Gap, Overlap as ClockOverlap};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A value that is written in a way of its own: how people write it, and how it is made from that.
macro_rules! written {
    ($(#[$doc:meta])* $name:ident($inner:ty) from $source:ty, $make:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let make: fn($source) -> Result<$inner, String> = $make;
                make(<$source>::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
            }
        }
    };
}

fn span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| {
        format!("{text:?} is not a duration ({error}); write it like \"90s\", \"5m\" or \"1h 30m\"")
    })?;
    match u64::try_from(span.as_micros()) {
        Ok(_) if span.subsec_nanos().is_multiple_of(1_000) => Ok(span),
        _ => Err(format!("{text:?} is not a whole number of microseconds below 500,000 years")),
    }
}

written!(
    /// A number of a version of the file.
    Revision(i64) from i64,
    |number| if number < 0 { Err("the revision must not be negative".to_owned()) } else { Ok(number) }
);
written!(
    /// A duration, such as `90s`.
    Span(Duration) from String,
    |text| span(&text)
);
impl Copy for Span {}
written!(
    /// A duration above zero.
    Positive(Duration) from String,
    |text| match span(&text)? {
        Duration::ZERO => Err("must be above zero; leave it out for none".to_owned()),
        span => Ok(span),
    }
);
impl Copy for Positive {}
written!(
    /// A zone of the IANA database.
    ZoneName(Zone) from String,
    |text| Zone::get(&text).map_err(|error| error.message().to_owned())
);
written!(
    /// A profile by its name.
    ProfileName(Profile) from String,
    |text| Profile::named(&text).ok_or_else(|| unknown("profile", &text, &["default", "fast", "calm", "failover-tolerant"]))
);
written!(
    /// How many executions a node runs at once.
    Capacity(u32) from u32,
    |number| if number == 0 { Err("a node with capacity 0 runs nothing; use 1 or more".to_owned()) } else { Ok(number) }
);
written!(
    /// What happens when a node dies.
    NodeLoss(OnNodeLoss) from String,
    |text| match text.as_str() {
        "rerun" => Ok(OnNodeLoss::Rerun),
        "lose" => Ok(OnNodeLoss::Lose),
        _ => Err(unknown("on_node_loss", &text, &["rerun", "lose"])),
    }
);
impl Copy for NodeLoss {}

written!(
    /// A time of day, such as `09:00` or `17:30:15`.
    Clock(NaiveTime) from String,
    |text| clock(&text)
);
impl Copy for Clock {}

fn clock(text: &str) -> Result<NaiveTime, String> {
    let wrong = || format!("{text:?} is not a time of day; write it like \"09:00\" or \"17:30:15\"");
    let number = |part: &str| {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u32>().ok().filter(|_| plain)
    };
    let parts: Vec<Option<u32>> = text.split(':').map(number).collect();
    let time = match parts[..] {
        [Some(hour), Some(minute)] => NaiveTime::from_hms_opt(hour, minute, 0),
        [Some(hour), Some(minute), Some(second)] => NaiveTime::from_hms_opt(hour, minute, second),
        _ => None,
    };
    time.ok_or_else(wrong)
}

fn unknown(what: &str, text: &str, known: &[&str]) -> String {
    let names: Vec<String> = known.iter().map(|name| format!("\"{name}\"")).collect();
    format!("{text:?} is no {what}; use {}", names.join(", "))
}

/// `dst = { gap, overlap }`, or `"quartz"`; what is left out is up to the expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DstRules {
    pub(crate) gap: Option<Gap>,
    pub(crate) overlap: Option<ClockOverlap>,
    /// Whether all is to be as in Quartz, also where that has no name of its own here.
    pub(crate) quartz: bool,
}

/// `misfire = "skip"` or `{ catch_up = 3, max_age = "1h" }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misfire(pub(crate) MisfirePolicy);

/// What a misfire policy with settings may say; either the first three or the last.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MisfireTable {
    catch_up: Option<u32>,
    max_age: Option<Span>,
    over: Option<Span>,
    quartz: Option<String>,
}

impl MisfireTable {
    fn policy(self) -> Result<MisfirePolicy, String> {
        let Self { catch_up, max_age, over, quartz } = self;
        let max_age = max_age.map(|span| span.0);
        let policy = match (catch_up, over, quartz) {
            (None, None, Some(name)) if max_age.is_none() => quartz_policy(&name)?,
            (_, _, Some(_)) => return Err("`quartz` stands alone; remove the other keys".to_owned()),
            (Some(limit), None, None) => MisfirePolicy::CatchUp { limit, max_age },
            (Some(limit), Some(over), None) => MisfirePolicy::Spread { limit, max_age, over: over.0 },
            (None, _, None) => {
                return Err("it says nothing to do; add `catch_up = 3`, or `quartz = \"smart\"`".to_owned());
            }
        };
        policy.check().map_err(|error| error.message().to_owned())?;
        Ok(policy)
    }
}

/// Quartz's misfire instructions by their stored names.
fn quartz_policy(name: &str) -> Result<MisfirePolicy, String> {
    let known = [
        Instruction::Ignore,
        Instruction::Smart,
        Instruction::FireNow,
        Instruction::NowExisting,
        Instruction::NowRemaining,
        Instruction::NextRemaining,
        Instruction::NextExisting,
        Instruction::FireOnceNow,
        Instruction::DoNothing,
    ];
    let names = known.map(|instruction| match serde_json::to_value(instruction) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    });
    match names.iter().zip(known).find(|(known, _)| *known == name) {
        Some((_, instruction)) => Ok(MisfirePolicy::Quartz { instruction }),
        None => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Err(unknown("misfire instruction of Quartz", name, &names))
        }
    }
}

impl<'de> Deserialize<'de> for Misfire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Misfire;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"fire_once_now\", \"skip\", \"fire_all\", \"quartz:…\" or { catch_up = 3, max_age = \"1h\" }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Misfire, E> {
                let policy = match (text, text.strip_prefix("quartz:")) {
                    ("fire_once_now", _) => MisfirePolicy::FireOnceNow,
                    ("skip", _) => MisfirePolicy::Skip,
                    ("fire_all", _) => MisfirePolicy::FireAll,
                    (_, Some(name)) => quartz_policy(name).map_err(E::custom)?,
                    _ => {
                        let known = ["fire_once_now", "skip", "fire_all", "quartz:smart"];
                        return Err(E::custom(unknown("misfire policy", text, &known)));
                    }
                };
                Ok(Misfire(policy))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Misfire, A::Error> {
                let table = MisfireTable::deserialize(MapAccessDeserializer::new(map))?;
                table.policy().map(Misfire).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for DstRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum GapRule {
            Skip,
            EndOfGap,
        }

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Rules {
            gap: Option<GapRule>,
            overlap: Option<ClockOverlap>,
        }

        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = DstRules;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"quartz\" or { gap = \"skip\" | \"end_of_gap\", overlap = \"first\" | \"second\" | \"both\" }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<DstRules, E> {
                match text {
                    "quartz" => {
                        let Dst { gap, overlap } = Dst::quartz();
                        Ok(DstRules { gap: Some(gap), overlap: Some(overlap), quartz: true })
                    }
                    _ => Err(E::custom(unknown("rule for clock changes", text, &["quartz"]))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DstRules, A::Error> {
                let Rules { gap, overlap } = Rules::deserialize(MapAccessDeserializer::new(map))?;
                let gap = gap.map(|gap| match gap {
                    GapRule::Skip => Gap::Skip,
                    GapRule::EndOfGap => Gap::AtEndOfGap,
                });
                Ok(DstRules { gap, overlap, quartz: false })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// `expect = 200`, `[200, 204]` or `"2xx"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statuses(pub(crate) crate::job::Expect);

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn status<E: serde::de::Error>(number: i64) -> Result<u16, E> {
            let status = u16::try_from(number).ok().filter(|status| (100..=599).contains(status));
            status.ok_or_else(|| E::custom(format!("{number} is not an HTTP status; use 100 to 599")))
        }

        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Statuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status such as 200, a list such as [200, 204], or a class such as \"2xx\"")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Statuses, E> {
                Ok(Statuses(crate::job::Expect::Any(vec![status(number)?])))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Statuses, E> {
                let class = text.strip_suffix("xx").and_then(|digit| digit.parse().ok());
                match class.filter(|class| (1..=5).contains(class)) {
                    Some(class) => Ok(Statuses(crate::job::Expect::Class(class))),
                    None => {
                        Err(E::custom(format!("{text:?} is no class of statuses; use one such as \"2xx\"")))
                    }
                }
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Statuses, A::Error> {
                let mut statuses = Vec::new();
                while let Some(number) = list.next_element()? {
                    statuses.push(status(number)?);
                }
                if statuses.is_empty() {
                    return Err(A::Error::custom("an empty list expects nothing; name at least one status"));
                }
                Ok(Statuses(crate::job::Expect::Any(statuses)))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

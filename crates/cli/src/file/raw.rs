//! The shape of a schedule file, as serde reads it. What needs more than one key to judge is in [`super::plan`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use punctual::{MisfirePolicy, OnNodeLoss, Profile, Zone};
use punctual_core::schedule::{Gap, Overlap as ClockOverlap};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::value::Datetime;

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) revision: Option<Revision>,
    pub(crate) set: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) defaults: Defaults,
    #[serde(default)]
    pub(crate) node: Node,
    #[serde(default)]
    pub(crate) job: BTreeMap<Spanned<String>, Job>,
}

/// What every job takes if it says nothing else.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Defaults {
    pub(crate) zone: Option<ZoneName>,
    pub(crate) dst: Option<DstRules>,
    pub(crate) misfire: Option<Misfire>,
    pub(crate) tolerance: Option<Span>,
    pub(crate) overlap: Option<Overlap>,
    pub(crate) timeout: Option<Positive>,
    pub(crate) retry: Option<Spanned<Retry>>,
    pub(crate) on_node_loss: Option<NodeLoss>,
    pub(crate) priority: Option<i32>,
    pub(crate) cwd: Option<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<Spanned<String>, String>,
}

/// How the node that reads the file runs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    pub(crate) name: Option<String>,
    pub(crate) profile: Option<ProfileName>,
    pub(crate) capacity: Option<Capacity>,
    pub(crate) grace: Option<Span>,
    pub(crate) keep_history: Option<Span>,
    pub(crate) poll: Option<Positive>,
}

/// A `[job.NAME]` table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    pub(crate) description: Option<String>,
    // What it runs.
    pub(crate) command: Option<Spanned<Vec<String>>>,
    pub(crate) shell: Option<Spanned<String>>,
    pub(crate) http: Option<Spanned<Http>>,
    pub(crate) cwd: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) env: BTreeMap<Spanned<String>, String>,
    pub(crate) stdin: Option<Spanned<String>>,
    // When: one trigger in the table itself, or several.
    pub(crate) cron: Option<Spanned<String>>,
    pub(crate) unix_cron: Option<Spanned<String>>,
    pub(crate) every: Option<Spanned<Positive>>,
    pub(crate) at: Option<Spanned<Datetime>>,
    pub(crate) zone: Option<ZoneName>,
    pub(crate) dst: Option<Spanned<DstRules>>,
    pub(crate) start: Option<Spanned<Datetime>>,
    pub(crate) end: Option<Spanned<Datetime>>,
    pub(crate) misfire: Option<Misfire>,
    pub(crate) tolerance: Option<Span>,
    pub(crate) triggers: Option<Spanned<Vec<Spanned<Trigger>>>>,
    // Under which rules.
    pub(crate) overlap: Option<Spanned<Overlap>>,
    pub(crate) limit: Option<Spanned<Limit>>,
    pub(crate) timeout: Option<Positive>,
    pub(crate) retry: Option<Spanned<Retry>>,
    pub(crate) on_node_loss: Option<NodeLoss>,
    pub(crate) priority: Option<i32>,
}

/// An element of `triggers`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trigger {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) description: Option<String>,
    pub(crate) cron: Option<Spanned<String>>,
    pub(crate) unix_cron: Option<Spanned<String>>,
    pub(crate) every: Option<Spanned<Positive>>,
    pub(crate) at: Option<Spanned<Datetime>>,
    pub(crate) zone: Option<ZoneName>,
    pub(crate) dst: Option<Spanned<DstRules>>,
    pub(crate) start: Option<Spanned<Datetime>>,
    pub(crate) end: Option<Spanned<Datetime>>,
    pub(crate) misfire: Option<Misfire>,
    pub(crate) tolerance: Option<Span>,
    pub(crate) priority: Option<i32>,
}

/// `http = { … }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) method: Option<Spanned<String>>,
    pub(crate) url: Spanned<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<Spanned<String>, String>,
    pub(crate) body: Option<Spanned<String>>,
    pub(crate) expect: Option<Statuses>,
}

/// `limit = { key, max }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit {
    pub(crate) key: String,
    pub(crate) max: u32,
}

/// `retry = { … }`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    pub(crate) attempts: u32,
    pub(crate) backoff: Option<Growth>,
    pub(crate) delay: Option<Span>,
    pub(crate) max: Option<Span>,
    pub(crate) jitter: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Growth {
    Fixed,
    Exponential,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Overlap {
    Allow,
    Queue,
    Skip,
}

/// `dst = { gap, overlap }`, or `"quartz"`; what is left out is up to the expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DstRules {
    pub(crate) gap: Option<Gap>,
    pub(crate) overlap: Option<ClockOverlap>,
}

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

fn unknown(what: &str, text: &str, known: &[&str]) -> String {
    let names: Vec<String> = known.iter().map(|name| format!("\"{name}\"")).collect();
    format!("{text:?} is no {what}; use {}", names.join(", "))
}

/// `misfire = "skip"` or `{ catch_up = 3, max_age = "1h" }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misfire(pub(crate) MisfirePolicy);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatchUp {
    catch_up: u32,
    max_age: Option<Span>,
}

impl<'de> Deserialize<'de> for Misfire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Misfire;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"fire_once_now\", \"skip\", \"fire_all\" or { catch_up = 3, max_age = \"1h\" }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Misfire, E> {
                match text {
                    "fire_once_now" => Ok(Misfire(MisfirePolicy::FireOnceNow)),
                    "skip" => Ok(Misfire(MisfirePolicy::Skip)),
                    "fire_all" => Ok(Misfire(MisfirePolicy::FireAll)),
                    _ => Err(E::custom(unknown(
                        "misfire policy",
                        text,
                        &["fire_once_now", "skip", "fire_all"],
                    ))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Misfire, A::Error> {
                let CatchUp { catch_up, max_age } = CatchUp::deserialize(MapAccessDeserializer::new(map))?;
                let policy = MisfirePolicy::CatchUp { limit: catch_up, max_age: max_age.map(|span| span.0) };
                policy.check().map_err(|error| A::Error::custom(error.message()))?;
                Ok(Misfire(policy))
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
                    "quartz" => Ok(DstRules { gap: Some(Gap::Skip), overlap: Some(ClockOverlap::Second) }),
                    _ => Err(E::custom(unknown("rule for clock changes", text, &["quartz"]))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DstRules, A::Error> {
                let Rules { gap, overlap } = Rules::deserialize(MapAccessDeserializer::new(map))?;
                let gap = gap.map(|gap| match gap {
                    GapRule::Skip => Gap::Skip,
                    GapRule::EndOfGap => Gap::AtEndOfGap,
                });
                Ok(DstRules { gap, overlap })
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

//! The shape of a schedule file, as serde reads it. What needs more than one key to judge is in [`super::plan`].

use std::collections::BTreeMap;

use punctual_core::calendar::WhenExcluded;
use punctual_core::schedule::{CalendarUnit, MonthEnd, Weekdays};
use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use super::calendar::Calendar;
use super::value::{
    Capacity, Clock, DstRules, Misfire, NodeLoss, Positive, ProfileName, Revision, Span, Statuses, ZoneName,
};

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
    pub(crate) calendar: BTreeMap<Spanned<String>, Calendar>,
    #[serde(default)]
    pub(crate) job: BTreeMap<Spanned<String>, Job>,
}

/// What every job takes if it says nothing else.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Defaults {
    pub(crate) zone: Option<ZoneName>,
    pub(crate) dst: Option<DstRules>,
    pub(crate) misfire: Option<Spanned<Misfire>>,
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
    pub(crate) record_successes: Option<bool>,
    pub(crate) poll: Option<Positive>,
    pub(crate) prefetch: Option<Span>,
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
    pub(crate) calendar_interval: Option<Spanned<Steps>>,
    pub(crate) daily: Option<Spanned<Window>>,
    pub(crate) zone: Option<ZoneName>,
    pub(crate) dst: Option<Spanned<DstRules>>,
    pub(crate) start: Option<Spanned<Datetime>>,
    pub(crate) end: Option<Spanned<Datetime>>,
    pub(crate) calendar: Option<Spanned<String>>,
    pub(crate) when_excluded: Option<Spanned<WhenExcluded>>,
    pub(crate) misfire: Option<Spanned<Misfire>>,
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
    pub(crate) calendar_interval: Option<Spanned<Steps>>,
    pub(crate) daily: Option<Spanned<Window>>,
    pub(crate) zone: Option<ZoneName>,
    pub(crate) dst: Option<Spanned<DstRules>>,
    pub(crate) start: Option<Spanned<Datetime>>,
    pub(crate) end: Option<Spanned<Datetime>>,
    pub(crate) calendar: Option<Spanned<String>>,
    pub(crate) when_excluded: Option<Spanned<WhenExcluded>>,
    pub(crate) misfire: Option<Spanned<Misfire>>,
    pub(crate) tolerance: Option<Span>,
    pub(crate) priority: Option<i32>,
}

/// `calendar_interval = { … }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Steps {
    pub(crate) every: u32,
    pub(crate) unit: CalendarUnit,
    pub(crate) start: Option<Spanned<Datetime>>,
    pub(crate) zone: Option<ZoneName>,
    #[serde(default)]
    pub(crate) month_end: MonthEnd,
}

/// `daily = { … }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    pub(crate) every: Span,
    pub(crate) from: Option<Clock>,
    pub(crate) to: Option<Clock>,
    pub(crate) days: Option<Weekdays>,
    pub(crate) count: Option<u32>,
    pub(crate) zone: Option<ZoneName>,
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

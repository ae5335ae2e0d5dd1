//! The kind `http`: one request, and a status that it must be answered with.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::time::Duration;

use punctual::{Context, Failure, Job, Output, State};
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::http::{Request, Response};

use super::attempt;
use super::output::{Bounded, LIMIT};

/// The longest body that a file may give.
pub(crate) const MAX_BODY_BYTES: usize = 512 << 10;

/// The payload of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpJob {
    /// The method, in capitals.
    pub(crate) method: String,
    /// The address, `http://` or `https://`.
    pub(crate) url: String,
    /// Headers beside those that name the attempt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    /// What to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    /// The statuses that count as success.
    pub(crate) expect: Expect,
    /// The longest time that everything may take, name look-up included, in milliseconds.
    pub(crate) limit_ms: u64,
}

/// Statuses that count as success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expect {
    /// Any of these.
    Any(Vec<u16>),
    /// Any of this hundred: 2 is 200 to 299.
    Class(u16),
}

impl Expect {
    fn fits(&self, status: u16) -> bool {
        match self {
            Self::Any(statuses) => statuses.contains(&status),
            Self::Class(class) => status / 100 == *class,
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(statuses) => {
                let texts: Vec<String> = statuses.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join(" or "))
            }
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

impl Job for HttpJob {
    const KIND: &'static str = "http";
}

/// Keeps connections open between requests.
#[derive(Debug)]
pub(crate) struct Agents(Agent);

impl Default for Agents {
    fn default() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .user_agent(concat!("punctual/", env!("CARGO_PKG_VERSION")))
            .build();
        Self(config.new_agent())
    }
}

/// Sends the request on a thread of its own. It cannot be interrupted there, but its time is bounded.
pub(crate) async fn run(
    job: HttpJob,
    ctx: Context,
    State(agents): State<Agents>,
) -> (Output, Result<(), Failure>) {
    let agent = agents.0.clone();
    let known = attempt(&ctx);
    let sent = tokio::task::spawn_blocking(move || send(&agent, &job, &known)).await;
    match sent {
        Ok((output, result)) => (Output(output), result),
        Err(error) => (Output::default(), Err(Failure::retry(format!("the request was given up: {error}")))),
    }
}

fn send(agent: &Agent, job: &HttpJob, known: &[(&'static str, String)]) -> (String, Result<(), Failure>) {
    let what = format!("{} {}", job.method, job.url);
    let mut response = match exchange(agent, job, known) {
        Ok(response) => response,
        Err(error) => {
            return (String::new(), Err(Failure::retry(format!("{what}: {}", explain(&error, job)))));
        }
    };
    let status = response.status().as_u16();
    let mut kept = Bounded::default();
    let mut buffer = vec![0; 16 << 10];
    let mut reader = response.body_mut().as_reader();
    let mut total = 0_usize;
    // Of an endless answer no more is read than can be of use.
    while let Ok(read @ 1..) = reader.read(&mut buffer) {
        kept.push(buffer.get(..read).unwrap_or_default());
        total += read;
        if total > 4 * LIMIT {
            break;
        }
    }
    let text = kept.text(LIMIT);
    if job.expect.fits(status) {
        return (text, Ok(()));
    }
    let last = kept.last_lines(3, 300);
    let answer = if last.is_empty() { String::new() } else { format!(": {last}") };
    (text, Err(Failure::retry(format!("{what}: status {status} where {} was expected{answer}", job.expect))))
}

fn exchange(
    agent: &Agent,
    job: &HttpJob,
    known: &[(&'static str, String)],
) -> Result<Response<ureq::Body>, ureq::Error> {
    let mut request = Request::builder().method(job.method.as_str()).uri(job.url.as_str());
    for (name, value) in known {
        let header = match *name {
            "EXECUTION_ID" => "X-Punctual-Execution-Id",
            "ATTEMPT" => "X-Punctual-Attempt",
            "FENCING_TOKEN" => "X-Punctual-Fencing-Token",
            "JOB" => "X-Punctual-Job",
            "SCHEDULED" => "X-Punctual-Scheduled",
            _ => continue,
        };
        // Names of jobs may have letters that a header cannot carry.
        if ureq::http::HeaderValue::from_str(value).is_ok() {
            request = request.header(header, value);
        }
    }
    for (name, value) in &job.headers {
        request = request.header(name, value);
    }
    let limit = Some(Duration::from_millis(job.limit_ms));
    match &job.body {
        Some(body) => {
            let request = agent.configure_request(request.body(body.clone())?);
            agent.run(request.timeout_global(limit).build())
        }
        None => {
            let request = agent.configure_request(request.body(())?);
            agent.run(request.timeout_global(limit).build())
        }
    }
}

fn explain(error: &ureq::Error, job: &HttpJob) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("no answer within {:?}", Duration::from_millis(job.limit_ms)),
        ureq::Error::HostNotFound => "the host is not known; check the name and this node's DNS".to_owned(),
        ureq::Error::ConnectionFailed => "the host cannot be reached".to_owned(),
        ureq::Error::Io(error) => format!("the host cannot be reached: {error}"),
        other => other.to_string(),
    }
}

//! What a job runs: a command, a line for the shell, or a request, checked and made into a payload.

use std::collections::BTreeMap;
use std::time::Duration;

use punctual::{ExecutionSpec, Job as _};
use punctual_core::Kind;
use punctual_core::job::Payload;
use toml::Spanned;

use super::plan::{Plan, Planned};
use super::raw::{Http, Job};
use super::source::Source;
use crate::job::{CommandJob, Expect, HttpJob, MAX_BODY_BYTES, PREFIX, Program};

/// How long a request may take if its job has no timeout.
const HTTP_LIMIT: Duration = Duration::from_secs(60);

impl Plan<'_> {
    pub(super) fn work(&self, spec: &ExecutionSpec) -> Planned<(Kind, Payload)> {
        let Job { command, shell, http, cwd, env, stdin, .. } = self.job;
        let run = match (command, shell, http) {
            (Some(argv), None, None) => {
                if argv.get_ref().first().is_none_or(String::is_empty) {
                    return self.wrong(
                        argv.span(),
                        "`command` names no program; write it like [\"rsync\", \"-a\", …]",
                    );
                }
                self.no_nul(argv, argv.get_ref().iter())?;
                Program::Argv(argv.get_ref().clone())
            }
            (None, Some(line), None) => {
                if line.get_ref().trim().is_empty() {
                    return self.wrong(line.span(), "`shell` is empty; write the line to run");
                }
                self.no_nul(line, std::iter::once(line.get_ref()))?;
                Program::Shell(line.get_ref().clone())
            }
            (None, None, Some(http)) => {
                let stray = [
                    cwd.as_ref().map(|cwd| ("cwd", cwd.span())),
                    stdin.as_ref().map(|stdin| ("stdin", stdin.span())),
                    env.first_key_value().map(|(name, _)| ("env", name.span())),
                ];
                if let Some((key, at)) = stray.into_iter().flatten().next() {
                    return self.wrong(at, &format!("`{key}` is of no use to `http`; remove it"));
                }
                return self.request(http.get_ref(), spec);
            }
            (None, None, None) => {
                let message = format!(
                    "job `{}` says nothing about what to run; add one of `command`, `shell` or `http`",
                    self.name.get_ref()
                );
                return self.wrong(self.name.span(), &message);
            }
            _ => {
                let message = format!(
                    "job `{}` says more than once what to run; keep one of `command`, `shell` and `http`",
                    self.name.get_ref()
                );
                return self.wrong(self.name.span(), &message);
            }
        };
        variables(self.source, env)?;
        let all = |variables: &BTreeMap<Spanned<String>, String>| {
            let pairs = variables.iter().map(|(name, value)| (name.get_ref().clone(), value.clone()));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let mut variables = all(&self.defaults.env);
        variables.extend(all(env));
        let job = CommandJob {
            run,
            cwd: cwd.as_ref().map(Spanned::get_ref).or(self.defaults.cwd.as_ref()).cloned(),
            env: variables,
            stdin: stdin.as_ref().map(|stdin| stdin.get_ref().clone()),
        };
        self.payload(CommandJob::KIND, &job)
    }

    fn no_nul<'s, T>(&self, at: &Spanned<T>, mut texts: impl Iterator<Item = &'s String>) -> Planned<()> {
        if texts.any(|text| text.contains('\0')) {
            return self.wrong(
                at.span(),
                "an argument has a NUL character, which no program can be given; remove it",
            );
        }
        Ok(())
    }

    fn request(&self, http: &Http, spec: &ExecutionSpec) -> Planned<(Kind, Payload)> {
        let method =
            http.method.as_ref().map_or_else(|| "GET".to_owned(), |method| method.get_ref().to_uppercase());
        if ureq::http::Method::from_bytes(method.as_bytes()).is_err() {
            let at = http.method.as_ref().map_or(0..0, Spanned::span);
            return self.wrong(at, "`method` is no HTTP method; use GET, POST, PUT, PATCH, DELETE or HEAD");
        }
        let url = http.url.get_ref();
        let address = url.parse::<ureq::http::Uri>().ok();
        let scheme = address.as_ref().and_then(ureq::http::Uri::scheme_str);
        let host = address.as_ref().and_then(ureq::http::Uri::host);
        if !matches!(scheme, Some("http" | "https")) || host.is_none_or(str::is_empty) {
            return self
                .wrong(http.url.span(), "`url` is no address; write it like https://example.com/path");
        }
        for (name, value) in &http.headers {
            let valid = ureq::http::HeaderName::from_bytes(name.get_ref().as_bytes()).is_ok();
            if !valid || ureq::http::HeaderValue::from_str(value).is_err() {
                let message = format!(
                    "header `{}` has a name or value that HTTP cannot carry; correct it",
                    name.get_ref()
                );
                return self.wrong(name.span(), &message);
            }
        }
        if let Some(body) = &http.body
            && body.get_ref().len() > MAX_BODY_BYTES
        {
            return self
                .wrong(body.span(), "`body` is longer than 512 KiB; let a command send it from a file");
        }
        let limit = spec.timeout.unwrap_or(HTTP_LIMIT);
        let job = HttpJob {
            method,
            url: url.clone(),
            headers: http
                .headers
                .iter()
                .map(|(name, value)| (name.get_ref().clone(), value.clone()))
                .collect(),
            body: http.body.as_ref().map(|body| body.get_ref().clone()),
            expect: http.expect.as_ref().map_or(Expect::Class(2), |expect| expect.0.clone()),
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1),
        };
        self.payload(HttpJob::KIND, &job)
    }

    fn payload(&self, kind: &str, job: &impl serde::Serialize) -> Planned<(Kind, Payload)> {
        let wrong = |error: punctual::Error| self.source.trouble(self.name.span(), error.message());
        Ok((Kind::new(kind).map_err(wrong)?, Payload::json(job).map_err(wrong)?))
    }
}

/// Checks names and values of variables.
pub(super) fn variables(source: &Source, variables: &BTreeMap<Spanned<String>, String>) -> Planned<()> {
    for (name, value) in variables {
        let text = name.get_ref();
        let why = if text.is_empty() || text.contains(['=', '\0']) || value.contains('\0') {
            "is no name of a variable, or its value has a NUL character; correct it".to_owned()
        } else if text.starts_with(PREFIX) {
            format!("is one of those that punctual sets ({PREFIX}…); rename it")
        } else {
            continue;
        };
        return Err(source.trouble(name.span(), &format!("`env`: `{text}` {why}")));
    }
    Ok(())
}

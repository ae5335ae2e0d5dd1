//! Jobs as users write them: a serde type with a name, and an async function that takes it.
//!
//! ```
//! use punctual_runtime::{Context, Failure, Job, State};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct SendEmail { to: String }
//!
//! impl Job for SendEmail { const KIND: &'static str = "send_email"; }
//!
//! struct Mailer;
//!
//! async fn send_email(job: SendEmail, State(_mailer): State<Mailer>, ctx: Context) -> Result<(), Failure> {
//!     println!("to {} ({})", job.to, ctx.execution_id());
//!     Ok(())
//! }
//! ```

use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::BoxFuture;
use punctual_core::job::{ExecutionSpec, JSON, Payload};
use punctual_core::protocol::finish::BodyEnd;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;

/// Data of a piece of work, and the name under which its handler is registered.
///
/// The name is what the database keeps, so it must stay when the type is renamed.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The name: 1 to 100 letters, digits, `_`, `.`, `:` or `-`.
    const KIND: &'static str;
    /// The version of the type's shape, stored beside each payload.
    const VERSION: u32 = 1;

    /// The rules under which work of this type is tried, unless it is scheduled or enqueued with others.
    fn rules() -> ExecutionSpec {
        ExecutionSpec::default()
    }
}

/// Why a handler did not succeed, and what should happen next.
///
/// Any [`std::error::Error`] turns into one that the retry policy decides about, so `?` works.
#[derive(Debug)]
pub struct Failure {
    message: String,
    next: Next,
}

#[derive(Debug)]
enum Next {
    ByPolicy,
    After(Duration),
    Never,
}

impl Failure {
    /// A failure that the retry policy decides about.
    pub fn retry(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), next: Next::ByPolicy }
    }

    /// A failure after which the next attempt, if there is one left, comes after `delay`.
    pub fn retry_after(delay: Duration, message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), next: Next::After(delay) }
    }

    /// A failure that no further attempt can mend.
    pub fn dead(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), next: Next::Never }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(source) = cause {
            message.push_str(": ");
            message.push_str(&source.to_string());
            cause = source.source();
        }
        Self { message, next: Next::ByPolicy }
    }
}

impl From<Failure> for BodyEnd {
    fn from(failure: Failure) -> Self {
        match failure.next {
            Next::ByPolicy => Self::Failed(failure.message),
            Next::After(delay) => Self::RetryAfter(failure.message, delay),
            Next::Never => Self::Dead(failure.message),
        }
    }
}

/// Text that a body gave out, kept with its record (at most 64 KiB of it).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output(pub String);

/// What a handler may return on success: nothing, or [`Output`]. On failure, too, an [`Output`] may be kept.
pub trait IntoEnd {
    /// The end of the body, and what it gave out.
    fn into_end(self) -> (BodyEnd, Option<String>);
}

impl<E: Into<Failure>> IntoEnd for Result<(), E> {
    fn into_end(self) -> (BodyEnd, Option<String>) {
        match self {
            Ok(()) => (BodyEnd::Succeeded, None),
            Err(error) => (error.into().into(), None),
        }
    }
}

impl<E: Into<Failure>> IntoEnd for Result<Output, E> {
    fn into_end(self) -> (BodyEnd, Option<String>) {
        match self {
            Ok(output) => (BodyEnd::Succeeded, Some(output.0)),
            Err(error) => (error.into().into(), None),
        }
    }
}

impl<E: Into<Failure>> IntoEnd for (Output, Result<(), E>) {
    fn into_end(self) -> (BodyEnd, Option<String>) {
        (self.1.into_end().0, Some(self.0.0))
    }
}

/// A shared value, given to [`crate::Builder::state`] and asked for by type.
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A type of shared value that a handler asks for.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

/// An argument of a handler beside its job: [`Context`] or [`State`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a handler",
    note = "a handler takes its job first, then any of `Context` and `State<T>`"
)]
pub trait Argument: Sized + Send {
    /// Takes the argument out of the context.
    ///
    /// # Errors
    /// A failure that names what is missing.
    fn take(ctx: &Context) -> Result<Self, Failure>;

    /// The shared value that has to be there.
    fn need() -> Option<Need> {
        None
    }
}

impl Argument for Context {
    fn take(ctx: &Context) -> Result<Self, Failure> {
        Ok(ctx.clone())
    }
}

impl<T: Send + Sync + 'static> Argument for State<T> {
    fn take(ctx: &Context) -> Result<Self, Failure> {
        let name = std::any::type_name::<T>();
        ctx.state()
            .map(Self)
            .ok_or_else(|| Failure::dead(format!("no state of type {name} was given to the builder")))
    }

    fn need() -> Option<Need> {
        Some(Need { id: TypeId::of::<T>(), name: std::any::type_name::<T>() })
    }
}

/// How a body ends, with what it gave out.
pub type End = (BodyEnd, Option<String>);

/// An async function that runs jobs of type `J`. Implemented for functions of a job and up to four [`Argument`]s.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "a handler is an `async fn(job: impl Job, …) -> Result<(), Failure>` whose other arguments are `Context` or `State<T>`"
)]
pub trait Handler<J, Args>: Send + Sync + 'static {
    /// Runs the job.
    fn run(&self, job: J, ctx: &Context) -> BoxFuture<'static, End>;
    /// The shared values that have to be there.
    fn needs(&self) -> Vec<Need>;
}

macro_rules! handler {
    ($($argument:ident),*) => {
        impl<F, Fut, J, $($argument,)*> Handler<J, ($($argument,)*)> for F
        where
            F: Fn(J, $($argument),*) -> Fut + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            Fut::Output: IntoEnd,
            J: Job,
            $($argument: Argument + 'static,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "arguments are named after their types; there may be none")]
            fn run(&self, job: J, ctx: &Context) -> BoxFuture<'static, End> {
                $(
                    let $argument = match $argument::take(ctx) {
                        Ok(argument) => argument,
                        Err(failure) => return Box::pin(std::future::ready((failure.into(), None))),
                    };
                )*
                let body = self(job, $($argument),*);
                Box::pin(async move { body.await.into_end() })
            }

            fn needs(&self) -> Vec<Need> {
                <[Option<Need>]>::iter(&[$($argument::need()),*]).filter_map(|need| *need).collect()
            }
        }
    };
}

handler!();
handler!(A);
handler!(A, B);
handler!(A, B, C);
handler!(A, B, C, D);

/// A handler without its types, as the node keeps it.
pub(crate) trait AnyHandler: Send + Sync {
    fn run(&self, payload: &Payload, ctx: &Context) -> BoxFuture<'static, End>;
}

pub(crate) struct Typed<H, J, Args> {
    handler: H,
    _types: std::marker::PhantomData<fn(J) -> Args>,
}

impl<H, J, Args> Typed<H, J, Args> {
    pub(crate) const fn new(handler: H) -> Self {
        Self { handler, _types: std::marker::PhantomData }
    }
}

impl<H, J, Args> AnyHandler for Typed<H, J, Args>
where
    H: Handler<J, Args>,
    J: Job,
    Args: 'static,
{
    fn run(&self, payload: &Payload, ctx: &Context) -> BoxFuture<'static, End> {
        let dead = |why: String| -> BoxFuture<'static, End> {
            Box::pin(std::future::ready((BodyEnd::Dead(why), None)))
        };
        if &*payload.codec != JSON {
            return dead(format!("payload: the codec {:?} is not known here; only `json` is", payload.codec));
        }
        match serde_json::from_slice(&payload.data) {
            Ok(job) => self.handler.run(job, ctx),
            Err(error) => dead(format!("payload: not a {} of version {}: {error}", J::KIND, J::VERSION)),
        }
    }
}

/// The payload of a job.
pub(crate) fn payload<J: Job>(job: &J) -> punctual_core::Result<Payload> {
    Ok(Payload { version: J::VERSION, ..Payload::json(job)? })
}

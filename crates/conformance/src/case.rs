//! The registry: what a case is, and the macro that makes one of a function and its doc comment.

use std::fmt;

use punctual_core::BoxFuture;

use crate::bench::Bench;

/// A part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Semantics.
    A,
    /// Concurrency.
    B,
    /// Crashes.
    C,
    /// Clocks.
    D,
    /// Migrations.
    E,
    /// Limits.
    F,
    /// Plans of the hot statements.
    G,
}

impl Section {
    /// Its letter.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
            Self::F => "F",
            Self::G => "G",
        }
    }
}

/// What a case needs of a harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A clock that can be moved.
    Clock,
    /// A lock provider.
    Locks,
    /// A way to be woken.
    Wake,
    /// A way to be told of statements, to cut connections and to hold steps between them.
    Statements,
    /// A second process of the test program, to be killed.
    Process,
    /// A way to ask the database for its plans.
    Plans,
    /// Rows that can be made unreadable.
    Spoil,
    /// A check for what should not be there.
    Check,
    /// A way to write into the store what none of its steps would.
    Contradict,
    /// Claims that compare the fence of a lock.
    LockFences,
    /// Migrations that can be run.
    Migrations,
}

impl Need {
    /// Why a case with this need does not apply where it is not met.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Clock => "the store's clock cannot be set",
            Self::Locks => "the store has no locks",
            Self::Wake => "the store has no wake-up",
            Self::Statements => "the store has no hook for its statements",
            Self::Process => "the store cannot be opened by a second process of this program",
            Self::Plans => "the harness does not ask the database for its plans",
            Self::Spoil => "the harness cannot make rows of the store unreadable",
            Self::Check => "the store has no check for what should not be there",
            Self::Contradict => "the harness cannot write into the store behind its back",
            Self::LockFences => "the store does not compare the fences of locks",
            Self::Migrations => "the harness shows no migrations",
        }
    }
}

/// One sentence of the contract, and how it is proved.
#[derive(Clone, Copy)]
pub struct Case {
    /// Group and name: `claim::refuses_a_stale_revision`.
    pub name: &'static str,
    /// The part of the contract that it belongs to.
    pub section: Section,
    pub(crate) doc: &'static str,
    /// What it needs of a harness.
    pub needs: &'static [Need],
    pub(crate) run: fn(Bench) -> BoxFuture<'static, ()>,
}

impl Case {
    /// The sentence.
    pub fn sentence(&self) -> String {
        self.doc.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("section", &self.section)
            .finish_non_exhaustive()
    }
}

/// All cases, by section and group.
pub fn all_cases() -> impl Iterator<Item = Case> {
    crate::cases::ALL.iter().flat_map(|group| group.iter().copied())
}

/// Collects functions into a group of cases. A function's doc comment is the case's sentence; needs stand in brackets.
macro_rules! cases {
    ($section:ident $group:literal; $(
        $(#[doc = $doc:literal])+
        $([$($need:ident),+])?
        async fn $name:ident($bench:ident) $body:block
    )+) => {
        pub(super) const CASES: &[$crate::case::Case] = &[$($crate::case::Case {
            name: concat!($group, "::", stringify!($name)),
            section: $crate::case::Section::$section,
            doc: concat!($($doc, "\n"),+),
            needs: &[$($($crate::case::Need::$need),+)?],
            run: |bench| Box::pin($name(bench)),
        }),+];

        $(
            $(#[doc = $doc])+
            async fn $name($bench: $crate::bench::Bench) $body
        )+
    };
}

pub(crate) use cases;

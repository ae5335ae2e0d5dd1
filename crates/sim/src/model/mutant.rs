//! The protocol with one mistake each. A model that does not find a mistake says nothing about the absence of others.

use crate::model::alarm::Alarm;
use crate::model::firing::Scene;
use crate::model::steps::Dialect;

macro_rules! mutants {
    ($($name:ident, $place:expr, $alarm:expr, $what:literal;)*) => {
        /// A mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Mutant {
            $($name,)*
        }

        impl Mutant {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What is wrong.
            pub(crate) const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// The property that is meant to find it.
            pub(crate) const fn alarm(self) -> Alarm {
                match self { $(Self::$name => $alarm,)* }
            }

            /// Where it is looked for.
            pub(crate) const fn place(self) -> Place {
                match self { $(Self::$name => $place,)* }
            }
        }
    };
}

/// The model that a mistake is put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Firing(Scene, Dialect),
    Lease,
    Migration,
}

use Dialect::{Mysql, Postgres, Sqlite};
use Place::{Firing, Lease, Migration};
use Scene::{AtMostOnce, Commands, Crash, Effects, Exclusive, Late, Own, Retry, Succession, Takeover};

mutants! {
    M1, Firing(Retry, Postgres), Alarm::G4, "an end compares the owner but not the fence";
    M2, Firing(Takeover, Mysql), Alarm::G4, "an end compares the fence but not the owner";
    M3, Firing(Exclusive, Sqlite), Alarm::G2, "fences of an exclusive key begin anew with each execution";
    M4, Firing(Scene::Claims, Sqlite), Alarm::G1, "a claim asks whether the trigger is due, not whether it is as it was read";
    M5, Firing(Crash, Mysql), Alarm::G9, "a claim does not lock its node, and nobody looks for owners that are gone";
    M6, Firing(Takeover, Sqlite), Alarm::G2, "a node is declared dead without comparing its beat";
    M7, Firing(Takeover, Postgres), Alarm::G2, "work is taken back by the name of the process, not by the id of the node";
    M8, Firing(Takeover, Sqlite), Alarm::G2, "a node that was declared dead joins again under its old id";
    M9, Lease, Alarm::G3b, "a lease counts from the answer to a check-in, not from its sending";
    M10, Lease, Alarm::G3b, "an observer's window begins before its read, not after it";
    M11, Lease, Alarm::G3b, "the time to take is the time to hold: the wind-down is forgotten";
    M12, Lease, Alarm::FalseDeath, "an observer goes on with its windows after a gap of its own";
    M13, Firing(Scene::Claims, Postgres), Alarm::G1, "a trigger moves on in a second transaction";
    M14, Firing(Exclusive, Postgres), Alarm::G3a, "a claim looks whether the key is free, and takes no slot";
    M15, Firing(Takeover, Postgres), Alarm::G2, "handing back compares neither owner nor fence";
    M16, Firing(Own, Mysql), Alarm::G9, "no node hands back rows that it does not run";
    M17, Firing(Own, Sqlite), Alarm::G3b, "a node hands back rows that it runs";
    M18, Firing(Effects, Postgres), Alarm::G8, "a repeated end commits what it wrote, though the first one had committed";
    M19, Firing(AtMostOnce, Sqlite), Alarm::G6, "a body that runs at most once begins before its beginning is recorded";
    M20, Firing(Takeover, Postgres), Alarm::G2, "orphans are found and given back in one statement";
    M21, Firing(Late, Sqlite), Alarm::G1, "what is late is left out by a look of its own, before the claim";
    M22, Firing(Commands, Mysql), Alarm::G12, "an edit does not raise the revision of its trigger";
    M23, Firing(Commands, Sqlite), Alarm::G12, "a command to a node does not raise its gate";
    M24, Migration, Alarm::G13, "what is to be applied is read before the lock is held";
    M25, Migration, Alarm::G13, "a step is noted as done before it is done";
    M26, Lease, Alarm::G4, "a node whose beat went back goes on";
    M27, Lease, Alarm::FalseDeath, "a node judges others while its own beats do not commit";
    M28, Firing(Commands, Postgres), Alarm::G12, "a claim compares the firing counter but not the revision";
    M29, Firing(Commands, Postgres), Alarm::G12, "a claim ignores the gate";
    M30, Lease, Alarm::FalseDeath, "a node is judged by the figures of its observer";
    M31, Firing(Succession, Sqlite), Alarm::G3b, "a body begins under an id that its process has no more";
    M32, Firing(Exclusive, Postgres), Alarm::G9, "nobody looks for work that waits beside a free slot";
}

//! The protocol with one mistake each, put between the nodes and the store. A simulation that does not find a mistake
//! says nothing about the absence of others.

macro_rules! mutants {
    ($($name:ident $promise:literal $what:literal;)*) => {
        /// A mistake, named as in the model.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant { $(#[doc = $what] $name,)* }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What is wrong.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// The promise that is meant to be found broken.
            pub const fn promise(self) -> &'static str {
                match self { $(Self::$name => $promise,)* }
            }
        }
    };
}

mutants! {
    M1 "G4" "an end compares the owner but not the fence";
    M4 "G1" "a claim asks whether the trigger is due, not whether it is as it was read";
    M5 "G9" "nobody looks for owners that are gone";
    M6 "G2" "a node is declared dead without comparing its beat";
    M8 "G6" "a process that is started again goes on under the id of the one before it";
    M9 "G3b" "a lease counts from a sending that came after the commit of its beat";
    M10 "G2" "an observer's window begins before the beat that it is about";
    M11 "G2" "the time to take is the time to hold: the wind-down is forgotten";
    M14 "G3a" "a claim takes no slot";
    M15 "G2" "handing back compares neither owner nor fence";
    M16 "G9" "no node hands back rows that it does not run";
    M17 "G3b" "a node hands back rows that it runs";
    M19 "G6" "a body that runs at most once begins before its beginning is recorded";
    M28 "G12" "a claim compares the firing counter but not the revision";
    M29 "G12" "a claim ignores the gate";
    M30 "G2" "a node is judged by the figures of its observer";
}

//! What must never be, by the promise that it breaks.

macro_rules! alarms {
    ($($name:ident $label:literal $what:literal;)*) => {
        /// A broken promise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Alarm { $($name,)* }

        impl Alarm {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            pub(crate) const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            pub(crate) const fn bit(self) -> u16 {
                match self { $(Self::$name => 1 << (Self::$name as u16),)* }
            }
        }
    };
}

alarms! {
    G1 "G1" "an instant fires once, and is left out or fires, never both";
    G2 "G2" "an owner loses its work only by itself or when it is dead, and fences grow";
    G3a "G3a" "live rows of an exclusive key are never owned at once";
    G3b "G3b" "bodies of one execution or exclusive key do not overlap";
    G4 "G4" "a result from an owner whose work has passed on is not taken";
    G6 "G6" "work that runs at most once begins at most once";
    G7 "G7" "an execution has one end";
    G8 "G8" "what is committed with an end is there once if the work has succeeded, and else not";
    G9 "G9" "once the faults are over, every instant is accounted for and nothing is left behind";
    G10 "G10" "the work of a dead node is offered again within the bound";
    G12 "G12" "no claim commits under an old definition or a gate that was closed";
    G13 "G13" "each step of a migration is done once";
    FalseDeath "death" "who checks in as announced is not declared dead";
    Deadlock "locks" "no step waits for another in a circle";
}

/// One property for each promise: that no state has broken it.
macro_rules! properties {
    ($state:ident => $alarms:expr) => {
        $crate::model::alarm::properties!($state, $alarms, G1 G2 G3a G3b G4 G6 G7 G8 G9 G10 G12 G13 FalseDeath Deadlock)
    };
    ($state:ident, $alarms:expr, $($name:ident)*) => {
        vec![$(stateright::Property::always($crate::model::alarm::Alarm::$name.name(), |_, $state: &Self::State| {
            $alarms & $crate::model::alarm::Alarm::$name.bit() == 0
        }),)*]
    };
}

pub(crate) use properties;

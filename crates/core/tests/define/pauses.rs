//! Pauses of single triggers.

use punctual_core::pause::Pause;
use punctual_core::protocol::define;
use punctual_core::store::{Change, Expect};
use punctual_core::trigger::{TriggerRecord, TriggerState};

use crate::common::{NOW, secs};
use crate::stored_trigger;

fn pause(by: &str) -> Pause {
    Pause::new(by, None, NOW).unwrap()
}

/// A stored trigger with or without a pause of its own, which is parked as well.
fn paused(state: TriggerState, by: Option<&str>) -> TriggerRecord {
    let next = if state == TriggerState::Complete { None } else { Some(NOW.plus(secs(60))) };
    let wake = next.map(|next| next.plus(secs(5)));
    TriggerRecord { state, next_fire: next, wake, paused: by.map(pause), ..stored_trigger(None) }
}

fn written(change: Option<Change>) -> Option<TriggerRecord> {
    change.map(|change| match change {
        Change::PutTrigger { expect: Expect::Rev(7), trigger } => trigger,
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_trigger_is_paused_once_whether_it_can_fire_or_not() {
    for state in [TriggerState::Active, TriggerState::Paused, TriggerState::Complete, TriggerState::Error] {
        let free = paused(state, None);
        let change = written(define::pause_trigger(&free, pause("me")));
        assert_eq!(change, Some(TriggerRecord { paused: Some(pause("me")), ..free }), "{state:?}");
    }
    for state in [TriggerState::Paused, TriggerState::Complete, TriggerState::Error] {
        assert_eq!(define::pause_trigger(&paused(state, Some("you")), pause("me")), None, "{state:?}");
    }
    let not_held = paused(TriggerState::Active, Some("you"));
    let change = written(define::pause_trigger(&not_held, pause("me"))).unwrap();
    assert_eq!(change.paused, Some(pause("me")), "a pause that does not hold it is none");
}

#[test]
fn a_pause_of_its_own_is_lifted_and_its_wake_up_is_its_next_instant() {
    for state in [TriggerState::Paused, TriggerState::Complete, TriggerState::Error] {
        for group_is_paused in [false, true] {
            let held = paused(state, Some("me"));
            let free = TriggerRecord { paused: None, wake: held.next_fire, ..held.clone() };
            assert_eq!(written(define::resume_trigger(&held, group_is_paused)), Some(free), "{state:?}");
        }
    }
}

#[test]
fn a_trigger_without_a_pause_of_its_own_goes_on_only_if_nothing_holds_it() {
    let held = paused(TriggerState::Paused, None);
    assert_eq!(define::resume_trigger(&held, true), None, "its group holds it");
    let free = TriggerRecord { wake: held.next_fire, ..held.clone() };
    assert_eq!(written(define::resume_trigger(&held, false)), Some(free), "nothing does");
    for state in [TriggerState::Active, TriggerState::Complete, TriggerState::Error] {
        for group_is_paused in [false, true] {
            assert_eq!(define::resume_trigger(&paused(state, None), group_is_paused), None, "{state:?}");
        }
    }
}

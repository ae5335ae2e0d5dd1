use std::time::Duration;

use super::*;

fn refused(json: &str) -> String {
    serde_json::from_str::<Schedule>(json).unwrap_err().to_string()
}

#[test]
fn a_document_has_one_text_and_comes_back() {
    let every = Every::new(Duration::from_secs(5)).unwrap();
    for (schedule, json) in [
        (Schedule::from(Once::new(Timestamp::from_micros(7))), r#"{"type":"once","at":7}"#),
        (every.into(), r#"{"type":"every","interval":5000000,"anchor":0}"#),
        (
            every.anchored_at(Timestamp::from_micros(-3)).repeating(0).into(),
            r#"{"type":"every","interval":5000000,"anchor":-3,"repeat":0}"#,
        ),
    ] {
        assert_eq!(serde_json::to_string(&schedule).unwrap(), json);
        assert_eq!(serde_json::from_str::<Schedule>(json).unwrap(), schedule);
    }
    let short = serde_json::from_str::<Schedule>(r#"{"type":"every","interval":5000000}"#).unwrap();
    assert_eq!(short, every.into());
}

#[test]
fn a_bad_document_is_refused_with_its_reason() {
    let cron = |expression: &str, zone: &str| {
        format!(r#"{{"type":"cron","dialect":"quartz","expression":"{expression}","zone":"{zone}"}}"#)
    };
    assert!(serde_json::from_str::<Schedule>(&cron("0 0 9 * * ?", "UTC")).is_ok());
    for (json, reason) in [
        (cron("0 0 99 * * ?", "UTC"), "column 5: 99 is not an hour"),
        (cron("0 0 9 * * ?", "Europe/Berln"), "did you mean `Europe/Berlin`?"),
        (r#"{"type":"every","interval":0}"#.to_owned(), "interval 0µs"),
        (r#"{"type":"every","interval":-9223372036854775808}"#.to_owned(), "must be whole microseconds"),
        (r#"{"type":"every","interval":5000000,"jitter":1}"#.to_owned(), "unknown field `jitter`"),
        (r#"{"type":"once","at":1,"zone":"UTC"}"#.to_owned(), "unknown field `zone`"),
        (r#"{"type":"never"}"#.to_owned(), "unknown variant `never`"),
        (
            r#"{"type":"cron","dialect":"unix","expression":"@daily","zone":"UTC","dst":{"gap":"skip","overlap":"first","x":0}}"#
                .to_owned(),
            "unknown field `x`",
        ),
    ] {
        let message = refused(&json);
        assert!(message.contains(reason), "{json}: {message}");
    }
}

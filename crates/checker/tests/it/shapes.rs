//! The JSON that drivers and bodies write, and that the verdict is printed as.

use crate::common::{all_but, alone, at, boot, lines, node, pid};
use punctual_checker::{BodyEvent, FaultEvent, Verdict};

#[test]
fn the_lines_have_the_shapes_that_others_write() {
    let body = BodyEvent::Begin(alone(1, "x", 5000, 1).start(5005));
    assert_eq!(
        lines(&[body]),
        concat!(
            r#"{"body":"begin","execution":"01010101-0101-0101-0101-010101010101","attempt":1,"fence":1,"#,
            r#""trigger":"default/x","generation":1,"scheduled":1700000005000000,"slot":"job:default/x","#,
            r#""pid":101,"boot_us":1005005000}"#,
            "\n"
        )
    );
    let bare = r#"{"body":"end","execution":"01010101-0101-0101-0101-010101010101","attempt":1,"fence":1,"scheduled":5,"pid":1,"boot_us":7}"#;
    let bare: BodyEvent = serde_json::from_str(bare).unwrap();
    assert_eq!((bare.start().trigger.as_ref(), bare.start().slot.as_ref()), (None, None));
    let kill = FaultEvent::Kill { pid: pid(1), node: Some(node(7)), boot_us: boot(0) };
    assert_eq!(lines(&[kill]), "{\"fault\":\"kill\",\"pid\":101,\"node\":7,\"boot_us\":1000000000}\n");
    let stop = FaultEvent::StopRequested { boot_us: boot(0), at: at(0) };
    assert_eq!(
        lines(&[stop]),
        "{\"fault\":\"stop_requested\",\"boot_us\":1000000000,\"at\":1700000000000000}\n"
    );
}

#[test]
fn a_verdict_is_one_json_object() {
    let json = serde_json::to_value(all_but(5).verdict()).unwrap();
    for field in
        ["fired", "duplicates", "lost", "overlaps", "takeovers", "takeover_seconds_max", "fenced_completions"]
    {
        assert!(json[field].is_number(), "{field}");
    }
    assert_eq!(json["broken"]["lost"], 1);
    assert_eq!(json["violations"][0]["guarantee"], "G9");
    assert_eq!(json["violations"][0]["rule"], "lost");
    assert!(!serde_json::to_string(&Verdict::default()).unwrap().contains('\n'));
}

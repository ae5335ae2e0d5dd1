//! Files, shapes and exports.

use super::*;

#[test]
fn files_are_cut_at_their_headers_and_nowhere_else() {
    let known =
        known(&["-- step: a\n-- why\nSELECT ';'\n-- probe:\nSELECT 1\n-- step: b\nX;\n-- cleanup:\nY\n"]);
    let texts = |step: &MigrationStep| {
        let text = |part: &Option<Box<str>>| part.as_deref().map(str::to_owned);
        (step.name.to_string(), step.sql.to_string(), text(&step.probe), text(&step.cleanup))
    };
    let steps: Vec<_> = known[0].steps.iter().map(texts).collect();
    assert_eq!(steps[0], ("a".into(), "-- why\nSELECT ';'".into(), Some("SELECT 1".into()), None));
    assert_eq!(steps[1], ("b".into(), "X".into(), None, Some("Y".into())));
}

#[test]
fn heads_of_files_are_read() {
    let known = known(&[FIRST, ONLINE, CONTRACT]);
    assert_eq!((known[0].min_reader, known[0].min_writer, known[0].online), (1, 1, false));
    assert_eq!((known[1].min_reader, known[1].online), (2, true));
    assert_eq!(known[2].contracts.as_deref(), Some("0.3.0"));
}

#[test]
fn the_checksum_sees_the_text_and_not_its_line_endings() {
    let windows = FIRST.replace('\n', "\r\n");
    assert_eq!(known(&[&windows]), known(&[FIRST]));
    assert_ne!(known(&[&FIRST.replace("CREATE a", "CREATE A")])[0].checksum, known(&[FIRST])[0].checksum);
}

#[test]
fn bad_files_are_named() {
    for (file, text) in [
        ("0002_init.sql", "-- step: a\nX"),
        ("1_init.sql", "-- step: a\nX"),
        ("0001_init.sql", "SELECT 1"),
        ("0001_init.sql", "-- step: a\n-- nothing"),
        ("0001_init.sql", "-- step: a\nX\n-- step: a\nX"),
        ("0001_init.sql", "-- step: a\nX\n-- probe:\nA\n-- probe:\nB"),
        ("0001_init.sql", "-- online:\n-- step: a\nX"),
        ("0001_init.sql", "-- min-reader: x\n"),
    ] {
        let error = parse(&[(file, text)]).unwrap_err();
        assert!(error.message().contains(file), "{error}");
    }
}

#[test]
fn tables_of_others_are_no_drift() {
    let expected = Fingerprint::of("# ours\na\n\nb".lines());
    let drift = expected.drift(&Fingerprint::of(["b", "mine"]));
    assert_eq!(drift.to_string(), "- a\n+ mine\n");
    assert!(!drift.is_harmless() && expected.drift(&Fingerprint::of(["a", "b", "mine"])).is_harmless());
}

#[test]
fn an_export_has_every_step_and_every_row() {
    let known = known(&[FIRST, SECOND]);
    let conn = Fake::new(true);
    let script = export(&conn, &known, 0, 2, "0.2.0").unwrap();
    let places: Vec<usize> = [
        "BEGIN",
        "CREATE migration",
        "CREATE a",
        "CREATE b",
        "INSERT 1 m1",
        "CREATE c;",
        "INSERT 2 m2",
        "COMMIT",
    ]
    .map(|text| script.find(text).unwrap_or_else(|| panic!("{text} is missing in\n{script}")))
    .to_vec();
    assert!(places.is_sorted(), "{script}");
    assert!(!export(&conn, &known, 1, 2, "0.2.0").unwrap().contains("CREATE migration"));
    assert!(export(&conn, &known, 2, 2, "0.2.0").is_err() && export(&conn, &known, 0, 3, "0.2.0").is_err());
}

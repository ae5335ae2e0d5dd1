//! The expressions: what people write, from every second to once in four years.

/// Quartz's dialect, which both other crates read a part of: `croner` with the days of the week counted as Quartz
/// does. Those with `L`, `W` or `#`, and ranges that wrap round, are not in everybody's reach.
pub(crate) const EXPRESSIONS: [&str; 40] = [
    // Seconds.
    "* * * * * ?",
    "*/5 * * * * ?",
    "7/20 * * * * ?",
    "0,15,30,45 * * * * ?",
    "10-20 30 * * * ?",
    // Minutes.
    "0 * * * * ?",
    "0 */15 * * * ?",
    "30 5/10 * * * ?",
    "0 0,20,40 8-18 * * ?",
    "0 13-17 * * * ?",
    // Hours.
    "0 0 * * * ?",
    "0 30 */2 * * ?",
    "0 0 6,12,18 * * ?",
    "0 15 9-17 ? * MON-FRI",
    "0 */30 22,23 * * ?",
    // Days.
    "0 0 0 * * ?",
    "0 30 2 * * ?",
    "0 0 9 ? * MON-FRI",
    "0 0 12 ? * SAT,SUN",
    "0 45 6 ? * 2,4,6",
    "0 0 3 ? * SUN",
    // Months.
    "0 0 0 1 * ?",
    "0 0 4 1,15 * ?",
    "0 0 5 31 * ?",
    "0 30 7 10-20 * ?",
    "0 0 0 1 JAN,APR,JUL,OCT ?",
    "0 0 8 1 */3 ?",
    "0 0 22 ? JUN-AUG FRI",
    // Years.
    "0 0 0 1 1 ?",
    "59 59 23 31 12 ?",
    "0 0 12 25 12 ?",
    "0 0 0 29 2 ?",
    "0 0 6 1 3 ? 2030",
    // Beyond the plain dialect.
    "0 0 18 L * ?",
    "0 0 18 LW * ?",
    "0 0 9 15W * ?",
    "0 0 10 ? * 6#3",
    "0 0 10 ? * 2L",
    "0 */20 22-2 * * ?",
    "0 0 6 ? * FRI-MON",
];

/// What never fires, however far one looks.
pub(crate) const NEVER: [&str; 2] = ["0 0 0 30 2 ?", "0 0 0 31 4,6,9,11 ?"];

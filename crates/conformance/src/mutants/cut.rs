//! Mistakes that somebody might make in a statement: a condition forgotten, a lock not taken, a conflict not expected.
//!
//! A condition is not cut out but made ineffective, `((condition) OR 1=1)`, so that the statement still has all of its
//! parameters and stays one that the database takes.

/// A statement with one mistake in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mutant {
    /// What is wrong with it, for people; no two mistakes in one statement are called the same.
    pub(super) change: String,
    /// The whole text.
    pub(super) text: String,
}

/// All mistakes of these kinds, one at a time.
pub(super) fn mutants(sql: &str) -> Vec<Mutant> {
    let tokens = tokens(sql);
    let mut found = conditions(sql, &tokens);
    found.extend(clauses(sql, &tokens));
    for n in (0..found.len()).rev() {
        let same = found.iter().take(n).filter(|other| other.change == found[n].change).count();
        if same > 0 {
            found[n].change.push_str(&format!(" ({})", same + 1));
        }
    }
    found
}

/// A word, a sign or a literal: where it stands, and what it is in capitals.
#[derive(Clone, Debug)]
struct Token {
    from: usize,
    to: usize,
    word: String,
}

fn tokens(sql: &str) -> Vec<Token> {
    let bytes = sql.as_bytes();
    let part_of_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_{}.$?:".contains(&byte);
    let mut list = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        let from = at;
        at += 1;
        match byte {
            b' ' | b'\n' | b'\t' | b'\r' => continue,
            b'\'' | b'"' | b'`' => {
                while bytes.get(at).is_some_and(|next| *next != byte) {
                    at += 1;
                }
                at = (at + 1).min(bytes.len());
            }
            b'-' if bytes.get(at) == Some(&b'-') => {
                while bytes.get(at).is_some_and(|next| *next != b'\n') {
                    at += 1;
                }
                continue;
            }
            _ if part_of_word(byte) => {
                while bytes.get(at).is_some_and(|next| part_of_word(*next)) {
                    at += 1;
                }
            }
            _ => {}
        }
        list.push(Token { from, to: at, word: sql[from..at].to_ascii_uppercase() });
    }
    list
}

/// What the words at one depth of parentheses belong to.
struct Level {
    /// Where the condition began that is being read, as an index of a token; none outside of conditions.
    term: Option<usize>,
    /// What joins the terms of this level so far, and the terms.
    joined: Option<&'static str>,
    terms: Vec<(usize, usize)>,
    /// Whether this is a condition in parentheses, which counts only if something is joined in it.
    is_group: bool,
    /// A list of values is no condition.
    is_list: bool,
    /// `AND` belongs to a `BETWEEN` before it.
    between: bool,
}

impl Level {
    const fn new(term: Option<usize>, is_group: bool) -> Self {
        Self { term, joined: None, terms: Vec::new(), is_group, is_list: false, between: false }
    }

    fn end_term(&mut self, before: usize) {
        if let Some(from) = self.term.take()
            && from < before
        {
            self.terms.push((from, before));
        }
    }

    /// The terms of a condition that is over.
    fn over(&mut self, before: usize) -> Vec<(usize, usize, bool)> {
        self.end_term(before);
        let terms = std::mem::take(&mut self.terms);
        let joined = self.joined.take();
        if self.is_list || (self.is_group && joined.is_none()) {
            return Vec::new();
        }
        terms.into_iter().map(|(from, to)| (from, to, joined == Some("OR"))).collect()
    }
}

/// Words that begin a condition, and words that end it.
const BEGIN: &[&str] = &["WHERE", "ON", "HAVING"];
const END: &[&str] = &[
    "GROUP",
    "ORDER",
    "LIMIT",
    "RETURNING",
    "FOR",
    "UNION",
    "LEFT",
    "INNER",
    "CROSS",
    "JOIN",
    "WINDOW",
    "SET",
    "DO",
    "LOCK",
    "WHERE",
    "ON",
    "HAVING",
    "VALUES",
    "SELECT",
    ";",
];

fn conditions(sql: &str, tokens: &[Token]) -> Vec<Mutant> {
    let mut levels = vec![Level::new(None, false)];
    let mut terms = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Some(level) = levels.last_mut() else { break };
        match token.word.as_str() {
            "(" | "CASE" => {
                let before =
                    at.checked_sub(1).and_then(|at| tokens.get(at)).map_or("", |before| &*before.word);
                let inside =
                    level.term.is_some_and(|from| from == at || ["AND", "OR", "NOT", "("].contains(&before));
                let is_condition = token.word == "(" && inside;
                levels.push(Level::new(is_condition.then_some(at + 1), true));
            }
            ")" | "END" => {
                if let Some(mut over) = levels.pop() {
                    terms.extend(over.over(at));
                }
                if levels.is_empty() {
                    levels.push(Level::new(None, false));
                }
            }
            "," => level.is_list = true,
            "BETWEEN" => level.between = true,
            "AND" if level.between => level.between = false,
            "AND" | "OR" if level.term.is_some() => {
                let word = if token.word == "AND" { "AND" } else { "OR" };
                // AND binds more: a condition that has both is an OR of what stands between, and the parts of an AND in
                // it are left alone.
                if level.joined != Some("OR") || word == "OR" {
                    if word == "OR" && level.joined == Some("AND") {
                        let from = level.terms.first().map_or(at, |(from, _)| *from);
                        level.terms.clear();
                        level.term = Some(from);
                    }
                    level.end_term(at);
                    level.joined = Some(word);
                    level.term = Some(at + 1);
                }
            }
            word if END.contains(&word) => {
                // `ON CONFLICT` and `ON DUPLICATE KEY` begin no condition, nor does `FOR UPDATE OF … ` end one twice.
                let next = tokens.get(at + 1).map_or("", |next| &*next.word);
                let ended = level.over(at);
                // Groups hold one condition; a query in parentheses begins anew.
                level.is_group &= word != "SELECT" && !BEGIN.contains(&word);
                level.is_list = false;
                terms.extend(ended);
                if BEGIN.contains(&word) && !["CONFLICT", "DUPLICATE", "true", "TRUE"].contains(&next) {
                    level.term = Some(at + 1);
                }
            }
            _ => {}
        }
    }
    if let Some(mut last) = levels.pop() {
        terms.extend(last.over(tokens.len()));
    }
    terms.sort_unstable();
    terms.dedup();
    terms.into_iter().filter_map(|(from, to, of_or)| without(sql, tokens, from, to, of_or)).collect()
}

fn without(sql: &str, tokens: &[Token], from: usize, to: usize, of_or: bool) -> Option<Mutant> {
    let (first, last) = (tokens.get(from)?, tokens.get(to.checked_sub(1)?)?);
    let (before, term, after) = (&sql[..first.from], &sql[first.from..last.to], &sql[last.to..]);
    let (change, never) = if of_or { ("never", "AND 1=0") } else { ("always", "OR 1=1") };
    Some(Mutant {
        change: format!("{change} true: {}", one_line(term)),
        text: format!("{before}(({term}) {never}){after}"),
    })
}

/// Clauses that are left out as a whole: the words that they consist of, and whether a list in parentheses belongs to them.
const CLAUSES: &[&[&str]] = &[
    &["FOR", "UPDATE"],
    &["FOR", "NO", "KEY", "UPDATE"],
    &["FOR", "SHARE"],
    &["FOR", "KEY", "SHARE"],
    &["LOCK", "IN", "SHARE", "MODE"],
    &["SKIP", "LOCKED"],
];

fn clauses(sql: &str, tokens: &[Token]) -> Vec<Mutant> {
    let mut found = Vec::new();
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.word == word);
    let mut cut = |from: usize, to: usize| {
        let (Some(first), Some(last)) = (tokens.get(from), tokens.get(to.saturating_sub(1))) else { return };
        let change = format!("without {}", one_line(&sql[first.from..last.to]));
        found.push(Mutant { change, text: format!("{}{}", &sql[..first.from], &sql[last.to..]) });
    };
    for at in 0..tokens.len() {
        for words in CLAUSES {
            if words.iter().enumerate().all(|(n, word)| is(at + n, word)) {
                let mut to = at + words.len();
                if words[0] != "SKIP" {
                    to += if is(to, "OF") { 2 } else { 0 };
                    to += if is(to, "SKIP") { 2 } else { 0 };
                    to += usize::from(is(to, "NOWAIT"));
                }
                cut(at, to);
            }
        }
        if is(at, "ON") && is(at + 1, "CONFLICT") && is(at + 2, "(") {
            let close = (at..tokens.len()).find(|at| is(*at, ")")).unwrap_or(at + 2);
            if is(close + 1, "DO") && is(close + 2, "NOTHING") {
                cut(at + 2, close + 1);
                cut(at, close + 3);
            }
        }
        if is(at, "INSERT") && is(at + 1, "IGNORE") {
            cut(at + 1, at + 2);
        }
    }
    found
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(sql: &str) -> Vec<String> {
        mutants(sql).into_iter().map(|mutant| mutant.change).collect()
    }

    #[test]
    fn each_condition_is_made_ineffective_by_itself() {
        let found = mutants("UPDATE t SET a = ?1 WHERE id = ?2 AND rev = ?3 RETURNING a");
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].change, "always true: rev = ?3");
        assert_eq!(found[1].text, "UPDATE t SET a = ?1 WHERE id = ?2 AND ((rev = ?3) OR 1=1) RETURNING a");
    }

    #[test]
    fn alternatives_are_taken_away() {
        assert_eq!(changes("DELETE FROM t WHERE a = 1 OR b = 2"), ["never true: a = 1", "never true: b = 2"]);
        assert_eq!(
            changes("DELETE FROM t WHERE a = 1 AND b = 2 OR c = 3"),
            ["never true: a = 1 AND b = 2", "never true: c = 3"]
        );
    }

    #[test]
    fn conditions_within_conditions_count_too() {
        let sql = "SELECT * FROM t WHERE a = 1 AND (b = 2 OR c = 3) AND NOT EXISTS (SELECT 1 FROM u WHERE u.id = t.id)";
        assert_eq!(
            changes(sql),
            [
                "always true: a = 1",
                "always true: (b = 2 OR c = 3)",
                "never true: b = 2",
                "never true: c = 3",
                "always true: NOT EXISTS (SELECT 1 FROM u WHERE u.id = t.id)",
                "always true: u.id = t.id",
            ]
        );
    }

    #[test]
    fn the_same_mistake_at_two_places_is_told_apart() {
        assert_eq!(
            changes("SELECT 1 FROM t WHERE a = 1 UNION SELECT 1 FROM u WHERE a = 1"),
            ["always true: a = 1", "always true: a = 1 (2)"]
        );
    }

    #[test]
    fn what_looks_like_a_condition_and_is_none_stays() {
        for sql in [
            "SELECT a AND b FROM t",
            "SELECT count(*) FROM t WINDOW w AS (ORDER BY a)",
            "INSERT INTO t VALUES (1, 'a WHERE b AND c')",
            "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1",
        ] {
            assert_eq!(changes(sql), [""; 0], "{sql}");
        }
        assert_eq!(changes("SELECT 1 FROM t WHERE (a, b) > (?1, ?2)"), ["always true: (a, b) > (?1, ?2)"]);
        assert_eq!(
            changes("SELECT 1 FROM t WHERE a BETWEEN 1 AND 2 AND f(b, c)"),
            ["always true: a BETWEEN 1 AND 2", "always true: f(b, c)"]
        );
        assert_eq!(
            changes("SELECT 1 FROM t WHERE CASE WHEN a AND b THEN c ELSE d END AND e"),
            ["always true: CASE WHEN a AND b THEN c ELSE d END", "always true: e"]
        );
    }

    #[test]
    fn locks_and_conflicts_are_forgotten() {
        assert_eq!(
            changes("SELECT 1 FROM t a FOR NO KEY UPDATE OF a SKIP LOCKED"),
            ["without FOR NO KEY UPDATE OF a SKIP LOCKED", "without SKIP LOCKED"]
        );
        assert_eq!(
            changes("INSERT INTO t VALUES (1) ON CONFLICT (id) DO NOTHING"),
            ["without (id)", "without ON CONFLICT (id) DO NOTHING"]
        );
        assert_eq!(changes("INSERT IGNORE INTO t VALUES (1)"), ["without IGNORE"]);
        assert_eq!(
            changes("SELECT 1 FROM t WHERE a = 1 FOR SHARE"),
            ["always true: a = 1", "without FOR SHARE"]
        );
    }
}

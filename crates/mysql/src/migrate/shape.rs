//! What `information_schema` says of tables, as lines of a fingerprint that are the same on MySQL and on MariaDB.

use punctual_core::migrate::Fingerprint;

use crate::rows::Columns;

/// A row about a table.
pub(super) fn table(c: &Columns) -> String {
    let (name, engine, collation) = (c.text(), c.text(), c.text());
    format!("table {name} {} {collation}", engine.to_lowercase())
}

/// A row about a column.
pub(super) struct Column {
    table: String,
    name: String,
    kind: String,
    nullable: bool,
    default: Option<String>,
    collation: Option<String>,
    extra: String,
    expression: Option<String>,
}

impl Column {
    pub(super) fn of(c: &Columns) -> Self {
        Self {
            table: c.text(),
            name: c.text(),
            kind: c.text(),
            nullable: c.text() == "YES",
            default: c.text_or_null(),
            collation: c.text_or_null(),
            extra: c.text_or_null().unwrap_or_default(),
            expression: c.text_or_null(),
        }
    }

    fn line(&self) -> String {
        let Self { table, name, nullable, .. } = self;
        let mut line = format!("column {table}.{name} {}", without_width(&self.kind.to_lowercase()));
        if let Some(collation) = &self.collation {
            line = format!("{line} collate {collation}");
        }
        if !nullable {
            line.push_str(" not null");
        }
        if let Some(default) = self.default.as_deref().and_then(plain_default) {
            line = format!("{line} default {default}");
        }
        let extra = self.extra.to_lowercase().replace("default_generated", "");
        for word in extra.split_whitespace() {
            line = format!("{line} {word}");
        }
        match self.expression.as_deref().map(plain_expression) {
            Some(expression) if !expression.is_empty() => format!("{line} as {expression}"),
            _ => line,
        }
    }
}

/// `bigint(20)` is `bigint`: the number is how wide a client shows it, and only MariaDB still says it.
fn without_width(kind: &str) -> String {
    let (base, rest) = kind.split_once('(').unwrap_or((kind, ""));
    let is_integer = matches!(base, "tinyint" | "smallint" | "mediumint" | "int" | "bigint");
    match rest.split_once(')') {
        Some((_, behind)) if is_integer => format!("{base}{behind}"),
        _ => kind.to_owned(),
    }
}

/// A default. MariaDB puts texts between quotes, says `NULL` where there is none, and `current_timestamp()`.
fn plain_default(default: &str) -> Option<String> {
    if default.eq_ignore_ascii_case("null") {
        return None;
    }
    let quoted = default.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    match quoted {
        Some(text) => Some(text.replace("''", "'")),
        None if default.to_lowercase().starts_with("current_timestamp") => {
            Some(default.to_lowercase().replace("()", ""))
        }
        None => Some(default.to_owned()),
    }
}

/// An expression without what the servers add to it: quotes around names, and more parentheses and blanks than needed.
fn plain_expression(expression: &str) -> String {
    let kept = expression.chars().filter(|c| !matches!(c, '`' | '(' | ')') && !c.is_whitespace());
    kept.collect::<String>().to_lowercase()
}

/// A row about a column of an index or of a foreign key: which it is, and the column within it.
pub(super) struct Part {
    head: String,
    column: String,
    tail: String,
}

/// A row about a column of an index.
pub(super) fn index(c: &Columns) -> Part {
    let (table, name, non_unique) = (c.text(), c.text(), c.int());
    let (column, order, length) = (c.text_or_null(), c.text_or_null(), c.int_or_null());
    let length = length.map_or_else(String::new, |length| format!("({length})"));
    let order = if order.as_deref() == Some("D") { " desc" } else { "" };
    let column = column.unwrap_or_else(|| "expression".to_owned());
    Part {
        head: format!("index {name} on {table}"),
        column: format!("{column}{length}{order}"),
        tail: if non_unique == 0 { " unique".to_owned() } else { String::new() },
    }
}

/// A row about a column of a foreign key.
pub(super) fn foreign_key(c: &Columns) -> Part {
    let (table, name, column) = (c.text(), c.text(), c.text());
    let (other, key) = (c.text(), c.text());
    Part {
        head: format!("foreign key {name} on {table}"),
        column: format!("{column} = {other}.{key}"),
        tail: String::new(),
    }
}

/// The lines of parts that come in order.
fn joined(parts: &[Part]) -> Vec<String> {
    let wholes = parts.chunk_by(|one, next| one.head == next.head);
    let line = |whole: &[Part]| {
        let columns: Vec<&str> = whole.iter().map(|part| part.column.as_str()).collect();
        let (head, tail) = whole.first().map_or(("", ""), |first| (&first.head, &first.tail));
        format!("{head} ({}){tail}", columns.join(", "))
    };
    wholes.map(line).collect()
}

/// The fingerprint of it all.
pub(super) fn fingerprint(
    mut tables: Vec<String>,
    columns: &[Column],
    indexes: &[Part],
    keys: &[Part],
) -> Fingerprint {
    tables.extend(columns.iter().map(Column::line));
    tables.extend(joined(indexes));
    tables.extend(joined(keys));
    Fingerprint::of(tables.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: &str, default: Option<&str>, extra: &str, expression: &str) -> String {
        Column {
            table: "t".into(),
            name: "c".into(),
            kind: kind.into(),
            nullable: true,
            default: default.map(Into::into),
            collation: None,
            extra: extra.into(),
            expression: Some(expression.into()),
        }
        .line()
    }

    #[test]
    fn both_servers_say_the_same_in_the_end() {
        for (mysql, mariadb) in [
            (column("bigint", None, "", ""), column("bigint(20)", Some("NULL"), "", "")),
            (column("bigint unsigned", Some("0"), "", ""), column("bigint(20) unsigned", Some("0"), "", "")),
            (column("varchar(9)", Some("it's"), "", ""), column("varchar(9)", Some("'it''s'"), "", "")),
            (
                column("timestamp(6)", Some("CURRENT_TIMESTAMP(6)"), "DEFAULT_GENERATED", ""),
                column("timestamp(6)", Some("current_timestamp(6)"), "", ""),
            ),
            (
                column("timestamp", Some("CURRENT_TIMESTAMP"), "DEFAULT_GENERATED", ""),
                column("timestamp", Some("current_timestamp()"), "", ""),
            ),
            (
                column(
                    "bigint",
                    None,
                    "STORED GENERATED",
                    "(case when ((`state` = 1) and (`wake_us` > `due_us`)) then 1 end)",
                ),
                column(
                    "bigint(20)",
                    Some("NULL"),
                    "STORED GENERATED",
                    "case when `state` = 1 and `wake_us` > `due_us` then 1 end",
                ),
            ),
        ] {
            assert_eq!(mysql, mariadb);
        }
        assert_ne!(column("varchar(9)", None, "", ""), column("varchar(8)", None, "", ""));
        assert_ne!(column("bigint", None, "", ""), column("bigint", Some("0"), "", ""));
    }
}

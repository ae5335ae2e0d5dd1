//! A statement with its values, as diesel sends it.
//!
//! `diesel::sql_query` would prepare each statement anew, which is a round trip more. This is the same with one
//! difference: statements whose text is constant are kept prepared, by connection.

use std::borrow::Cow;

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Blob, Nullable, Text, Untyped};
use serde::{Serialize, Serializer};

/// A value for a placeholder.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

macro_rules! value_from {
    ($($from:ty => |$value:ident| $to:expr),+ $(,)?) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $to
            }
        })+
    };
}

value_from! {
    i64 => |value| Self::Int(Some(value)),
    u32 => |value| Self::Int(Some(value.into())),
    Option<i64> => |value| Self::Int(value),
    &str => |value| Self::Text(Some(value.to_owned())),
    String => |value| Self::Text(Some(value)),
    Option<String> => |value| Self::Text(value),
    Vec<u8> => |value| Self::Bytes(Some(value)),
    Option<Vec<u8>> => |value| Self::Bytes(value),
    [u8; 16] => |value| Self::Bytes(Some(value.to_vec())),
}

/// As part of a list that is one value: bytes are their hexadecimal digits.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(value) => value.serialize(serializer),
            Self::Text(value) => value.serialize(serializer),
            Self::Bytes(value) => value.as_deref().map(digits).serialize(serializer),
        }
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let of = |half: u8| DIGITS.get(usize::from(half & 15)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [of(byte >> 4), of(*byte)]).collect()
}

impl Value {
    /// About how many bytes it is in a list.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Int(_) => 8,
            Self::Text(text) => text.as_ref().map_or(1, String::len),
            Self::Bytes(bytes) => bytes.as_ref().map_or(1, |bytes| 2 * bytes.len()),
        }
    }
}

/// The values of a statement, in the order of its placeholders.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::query::Value::from($value)),*] };
}
pub(crate) use values;

/// The text of a statement.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    text: Cow<'static, str>,
    kept: bool,
}

impl Sql {
    /// A text that is made for this time only, and not kept prepared.
    pub(crate) fn once(text: String) -> Self {
        Self { text: text.into(), kept: false }
    }

    /// A text that will come again, such as one for the kinds of a node.
    pub(crate) fn made(text: String) -> Self {
        Self { text: text.into(), kept: true }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Self { text: text.into(), kept: true }
    }
}

/// A statement with its values.
pub(crate) struct Statement {
    pub(crate) sql: Sql,
    pub(crate) values: Vec<Value>,
}

impl QueryFragment<Mysql> for Statement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        if !self.sql.kept {
            out.unsafe_to_cache_prepared();
        }
        // Constant texts have no question mark but placeholders; a test of `sql` says so.
        let mut values = self.values.iter();
        for (at, piece) in self.sql.text.split('?').enumerate() {
            if at > 0 {
                match values.next() {
                    Some(Value::Int(value)) => out.push_bind_param::<Nullable<BigInt>, _>(value)?,
                    Some(Value::Text(value)) => out.push_bind_param::<Nullable<Text>, _>(value)?,
                    Some(Value::Bytes(value)) => out.push_bind_param::<Nullable<Blob>, _>(value)?,
                    None => out.push_sql("?"),
                }
            }
            out.push_sql(piece);
        }
        Ok(())
    }
}

impl QueryId for Statement {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement {
    type SqlType = Untyped;
}

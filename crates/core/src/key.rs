//! Names that people choose and ids that nobody chooses.
//!
//! A key is only a name: deleting and re-creating a trigger gives it a new id under the old key. Ids never repeat.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::entropy::Entropy;
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// The group of a key that was written without one.
pub const DEFAULT_GROUP: &str = "default";

/// The longest group or name, in bytes.
pub const MAX_NAME_BYTES: usize = 200;

fn checked(part: &'static str, text: &str) -> Result<Box<str>> {
    let wrong = |why: &str| Err(Error::invalid("key", format!("{part} {text:?} {why}")));
    if text.is_empty() {
        return wrong("is empty; give it at least one character");
    }
    if text.len() > MAX_NAME_BYTES {
        return wrong("is longer than 200 bytes; shorten it");
    }
    if text.chars().any(char::is_control) {
        return wrong("has a control character; remove it");
    }
    if text.trim() != text {
        return wrong("begins or ends with white space; remove it");
    }
    Ok(text.into())
}

/// A group, if it can be one: 1 to 200 bytes, no control characters, no blanks at its ends, no `/`.
///
/// # Errors
/// `Invalid`, saying what is wrong with it.
pub fn checked_group(group: &str) -> Result<Box<str>> {
    let group = checked("group", group)?;
    if group.contains('/') {
        let message = format!("group {group:?} has a slash; only a name may have one");
        return Err(Error::invalid("key", message));
    }
    Ok(group)
}

/// A group and a name, shown and parsed as `group/name`; `name` alone is in the group `default`.
///
/// Each part has 1 to 200 bytes, no control characters and no blanks at its ends; a group has no `/`.
/// Keys compare byte for byte in every store: `Report` and `report` are two keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    group: Box<str>,
    name: Box<str>,
}

impl Key {
    /// Makes a key.
    ///
    /// # Errors
    /// `Invalid` if a part breaks the rules above.
    pub fn new(group: &str, name: &str) -> Result<Self> {
        Ok(Self { group: checked_group(group)?, name: checked("name", name)? })
    }

    /// The group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The name within the group.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.name)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('/') {
            Some((group, name)) => Self::new(group, name),
            None => Self::new(DEFAULT_GROUP, text),
        }
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! typed_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Key);

        impl $name {
            /// Makes a key from a group and a name.
            ///
            /// # Errors
            /// `Invalid` if a part breaks the rules of [`Key`].
            pub fn new(group: &str, name: &str) -> Result<Self> {
                Key::new(group, name).map(Self)
            }

            /// The group.
            pub fn group(&self) -> &str {
                self.0.group()
            }

            /// The name within the group.
            pub fn name(&self) -> &str {
                self.0.name()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                text.parse().map(Self)
            }
        }
    };
}

typed_key!(
    /// The name of a stored job.
    JobKey
);
typed_key!(
    /// The name of a trigger.
    TriggerKey
);

/// The registered name of a handler: 1 to 100 bytes of `a-z A-Z 0-9 _ . : -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Kind(Box<str>);

impl Kind {
    /// Makes a kind.
    ///
    /// # Errors
    /// `Invalid` if the text is empty, longer than 100 bytes or has other characters than those above.
    pub fn new(text: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
        if text.is_empty() || text.len() > 100 || !text.chars().all(fits) {
            return Err(Error::invalid(
                "kind",
                format!("{text:?} is not a kind; use 1 to 100 letters, digits, `_`, `.`, `:` or `-`"),
            ));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Draws a new id: 63 random bits, never zero.
            pub fn draw(entropy: &dyn Entropy) -> Self {
                Self(entropy.positive())
            }

            /// The id as stores keep it.
            pub const fn get(self) -> i64 {
                self.0
            }

            /// An id read from a store.
            pub const fn from_stored(id: i64) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

random_id!(
    /// One process start. Never used again, so that no claim of an earlier life can be mistaken for one of this.
    NodeId
);
random_id!(
    /// One creation of a trigger. Re-creating a trigger under the same key draws a new id.
    TriggerId
);
random_id!(
    /// One creation of a job.
    JobId
);

/// One piece of work: an occurrence that fired, or a job that was enqueued.
///
/// 128 bits, time-ordered (milliseconds in the upper 48 bits, 74 random bits, the layout of a UUID version 7), so
/// that rows of one time lie together in an index. Made before the step that stores it, so that the step may be
/// repeated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionId(u128);

impl ExecutionId {
    /// Draws a new id for about the time `at`; the time only orders, nothing reads it back.
    pub fn draw(at: Timestamp, entropy: &dyn Entropy) -> Self {
        let millis = u128::from(u64::try_from(at.as_micros() / 1000).unwrap_or(0)) & 0xffff_ffff_ffff;
        let high = u128::from(entropy.draw()) & 0x0fff;
        let low = u128::from(entropy.draw()) & 0x3fff_ffff_ffff_ffff;
        Self(millis << 80 | 0x7 << 76 | high << 64 | 0x2 << 62 | low)
    }

    /// The 16 bytes that stores keep, most significant first: byte order is time order.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// An id read from a store.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            n >> 96,
            n >> 80 & 0xffff,
            n >> 64 & 0xffff,
            n >> 48 & 0xffff,
            n & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ExecutionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(
                "execution id",
                format!("{text:?} is not an id like 0190a6f2-7c1e-7b54-9d0e-1f2a3b4c5d6e"),
            )
        };
        let groups: Vec<&str> = text.split('-').collect();
        let lengths = groups.iter().map(|group| group.len());
        if !lengths.eq([8, 4, 4, 4, 12]) || !text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(&groups.concat(), 16).map(Self).map_err(|_| wrong())
    }
}

impl Serialize for ExecutionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExecutionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A number that grows with every hand-over of an execution, and over all executions of one exclusive key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(i64);

impl Fence {
    /// Before the first claim.
    pub const NONE: Self = Self(0);

    /// The largest epoch of a store: every token fits into a signed 64-bit column.
    pub const MAX_EPOCH: u32 = (1 << 23) - 1;

    /// The number as stores keep it.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// A number read from a store.
    pub const fn from_stored(fence: i64) -> Self {
        Self(fence)
    }

    /// The next larger fence.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number to give to a resource outside the database: it grows also when a restored store begins a new epoch.
    pub const fn token(self, store_epoch: u32) -> u64 {
        (store_epoch as u64) << 40 | (self.0.unsigned_abs() & 0xff_ffff_ffff)
    }

    /// Refuses an epoch that no token could carry.
    ///
    /// # Errors
    /// `Invalid` if it is above [`Fence::MAX_EPOCH`].
    pub fn check_epoch(operation: &'static str, epoch: u32) -> Result<()> {
        if epoch > Self::MAX_EPOCH {
            let why = format!("epoch {epoch} is above the last one, {}", Self::MAX_EPOCH);
            return Err(Error::invalid(operation, why));
        }
        Ok(())
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn a_key_without_a_group_is_in_the_default_group() {
        let key: JobKey = "nightly".parse().unwrap();
        assert_eq!((key.group(), key.name()), ("default", "nightly"));
        assert_eq!(key.to_string(), "default/nightly");
    }

    #[test]
    fn the_first_slash_ends_the_group() {
        let key: Key = "reports/daily/eu".parse().unwrap();
        assert_eq!((key.group(), key.name()), ("reports", "daily/eu"));
    }

    #[test]
    fn bad_keys_are_refused_with_the_part_named() {
        for (text, part) in
            [("", "name"), ("/x", "group"), ("a/", "name"), ("a\u{7}", "name"), (" a", "name")]
        {
            let error = text.parse::<Key>().unwrap_err();
            assert!(error.message().starts_with(part), "{text:?}: {error}");
        }
        assert!("x".repeat(201).parse::<Key>().is_err());
    }

    #[test]
    fn execution_ids_are_ordered_by_time_and_survive_text_and_bytes() {
        let entropy = SeededEntropy::new(7);
        let early = ExecutionId::draw(Timestamp::from_secs(1_000), &entropy);
        let late = ExecutionId::draw(Timestamp::from_secs(1_001), &entropy);
        assert!(early < late);
        assert!(early.to_bytes() < late.to_bytes());
        assert_eq!(early.to_string().parse::<ExecutionId>().unwrap(), early);
        assert_eq!(ExecutionId::from_bytes(late.to_bytes()), late);
        assert_eq!(early.to_string().as_bytes()[14], b'7');
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in [
            "",
            "x",
            "0190a6f2-7c1e-7b54-9d0e-1f2a3b4c5d6",
            "0190a6f27c1e7b549d0e1f2a3b4c5d6e",
            "+190a6f2-7c1e-7b54-9d0e-1f2a3b4c5d6e",
        ] {
            assert!(text.parse::<ExecutionId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_higher_epoch_beats_every_older_fence() {
        assert!(Fence::from_stored(1).token(1) > Fence::from_stored(999_999).token(0));
    }

    #[test]
    fn the_last_tokens_of_the_last_epoch_fit_into_a_signed_column() {
        let last = Fence::from_stored((1 << 40) - 1).token(Fence::MAX_EPOCH);
        assert!(i64::try_from(last).is_ok());
        assert!(last > Fence::from_stored((1 << 40) - 1).token(Fence::MAX_EPOCH - 1));
    }

    #[test]
    fn an_epoch_that_tokens_cannot_carry_is_refused() {
        assert!(Fence::check_epoch("raise_epoch", Fence::MAX_EPOCH).is_ok());
        let error = Fence::check_epoch("raise_epoch", Fence::MAX_EPOCH + 1).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    }
}

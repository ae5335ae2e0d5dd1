//! Sets of stretches of boot time.

use punctual_core::time::BootInstant;

/// A stretch of boot time, its end left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) from: BootInstant,
    pub(crate) to: BootInstant,
}

/// Stretches of boot time that neither touch nor overlap, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans(Vec<Span>);

impl Spans {
    /// The union of stretches in any order; empty ones count for nothing.
    pub(crate) fn union(mut parts: Vec<Span>) -> Self {
        parts.retain(|part| part.from < part.to);
        parts.sort_unstable();
        let mut merged: Vec<Span> = Vec::with_capacity(parts.len());
        for part in parts {
            match merged.last_mut() {
                Some(last) if part.from <= last.to => last.to = last.to.max(part.to),
                _ => merged.push(part),
            }
        }
        Self(merged)
    }

    /// What of `whole` lies in none of these.
    pub(crate) fn cut_from(&self, whole: Span) -> Self {
        let mut left = Vec::new();
        let mut from = whole.from;
        for cut in self.0.iter().filter(|cut| cut.from < whole.to && cut.to > whole.from) {
            left.push(Span { from, to: cut.from });
            from = cut.to;
        }
        left.push(Span { from, to: whole.to });
        Self::union(left)
    }

    /// What lies in both.
    pub(crate) fn both(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut common = Vec::new();
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            common.push(Span { from: a.from.max(b.from), to: a.to.min(b.to) });
            if a.to < b.to {
                left.next();
            } else {
                right.next();
            }
        }
        Self::union(common)
    }

    /// How long they are together, in microseconds.
    pub(crate) fn micros(&self) -> u64 {
        self.0.iter().map(|span| span.to.as_micros() - span.from.as_micros()).sum()
    }

    /// Whether any of them has an instant from `from` up to and including `to`.
    pub(crate) fn touch(&self, from: BootInstant, to: BootInstant) -> bool {
        let next = self.0.partition_point(|span| span.to <= from);
        self.0.get(next).is_some_and(|span| span.from <= to)
    }

    /// The stretches in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Span> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: u64, to: u64) -> Span {
        Span { from: BootInstant::from_micros(from), to: BootInstant::from_micros(to) }
    }

    fn spans(parts: &[(u64, u64)]) -> Spans {
        Spans::union(parts.iter().map(|(from, to)| span(*from, *to)).collect())
    }

    #[test]
    fn stretches_that_touch_become_one() {
        assert_eq!(spans(&[(5, 7), (1, 3), (3, 4), (6, 6)]), spans(&[(1, 4), (5, 7)]));
        assert_eq!(spans(&[(1, 4), (2, 3), (5, 7)]).micros(), 5);
        assert_eq!(spans(&[(9, 9)]).iter().count(), 0, "an empty one counts for nothing");
    }

    #[test]
    fn cutting_leaves_what_is_outside() {
        assert_eq!(spans(&[(2, 3), (5, 9)]).cut_from(span(1, 7)), spans(&[(1, 2), (3, 5)]));
        assert_eq!(spans(&[(0, 9)]).cut_from(span(1, 7)), Spans::default());
        assert_eq!(Spans::default().cut_from(span(1, 7)), spans(&[(1, 7)]));
        assert_eq!(spans(&[(0, 1), (7, 9), (20, 30)]).cut_from(span(1, 7)), spans(&[(1, 7)]));
    }

    #[test]
    fn what_lies_in_both() {
        assert_eq!(
            spans(&[(1, 5), (8, 12)]).both(&spans(&[(4, 9), (11, 20)])),
            spans(&[(4, 5), (8, 9), (11, 12)])
        );
        assert_eq!(spans(&[(1, 5)]).both(&spans(&[(5, 9)])).micros(), 0, "the end is left out");
    }

    #[test]
    fn touching_includes_both_ends_of_the_question() {
        let set = spans(&[(10, 20)]);
        let touch = |from, to| set.touch(BootInstant::from_micros(from), BootInstant::from_micros(to));
        assert!(touch(0, 10) && touch(19, 30) && touch(12, 13) && touch(0, 99));
        assert!(!touch(0, 9) && !touch(20, 30));
    }
}

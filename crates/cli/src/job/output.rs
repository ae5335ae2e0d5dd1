//! Output of a body, however much there is: the beginning and the end of it are kept, with a mark between.

use std::collections::VecDeque;

/// The most bytes that a record keeps, as `punctual-core` has it.
pub(crate) const LIMIT: usize = punctual_core::execution::MAX_OUTPUT_BYTES;

/// How much of each end is kept while reading.
const END: usize = LIMIT / 2;

/// A stream of bytes of which only both ends are kept.
#[derive(Debug, Default)]
pub(crate) struct Bounded {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Bounded {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(END - self.head.len()));
        self.head.extend_from_slice(first);
        // Of one piece no more than the last END bytes can stay.
        let (passed, rest) = rest.split_at(rest.len().saturating_sub(END));
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(END);
        self.tail.drain(..over);
        self.left_out += u64::try_from(passed.len() + over).unwrap_or(u64::MAX);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// The text in at most `limit` bytes. Bytes that are no UTF-8 are replaced, and so are NUL characters, which some
    /// databases cannot keep.
    pub(crate) fn text(&mut self, limit: usize) -> String {
        let clean = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}");
        if self.left_out == 0 {
            let whole = clean(&[&self.head, &*self.tail.make_contiguous()].concat());
            if whole.len() <= limit {
                return whole;
            }
        }
        let mut left_out = self.left_out;
        let head = clean(&self.head);
        let tail = clean(self.tail.make_contiguous());
        // A stream that fitted into its buffers but not into the limit is parted anew.
        let (head, tail) = if tail.is_empty() { halves(&head) } else { (head, tail) };
        let room = limit.saturating_sub(80) / 2;
        let kept_head = head.get(..floor(&head, room)).unwrap_or_default();
        let kept_tail = tail.get(ceil(&tail, tail.len().saturating_sub(room))..).unwrap_or_default();
        let cut = head.len() - kept_head.len() + tail.len() - kept_tail.len();
        left_out += u64::try_from(cut).unwrap_or(u64::MAX);
        format!("{kept_head}\n… {left_out} bytes left out …\n{kept_tail}")
    }

    /// The last lines of the text, at most `limit` bytes of them.
    pub(crate) fn last_lines(&mut self, lines: usize, limit: usize) -> String {
        let text = self.text(LIMIT);
        let mut last: Vec<&str> =
            text.lines().rev().filter(|line| !line.trim().is_empty()).take(lines).collect();
        last.reverse();
        let joined = last.join("\n");
        let from = ceil(&joined, joined.len().saturating_sub(limit));
        joined.get(from..).unwrap_or_default().to_owned()
    }
}

fn halves(text: &str) -> (String, String) {
    let (head, tail) = text.split_at(floor(text, text.len() / 2));
    (head.to_owned(), tail.to_owned())
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

fn ceil(text: &str, at: usize) -> usize {
    (at..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}

/// Both streams of a command as one text of at most [`LIMIT`] bytes; the standard error comes second, with a title.
pub(crate) fn both(out: &mut Bounded, err: &mut Bounded) -> String {
    const TITLE: &str = "[standard error]\n";
    if err.is_empty() {
        return out.text(LIMIT);
    }
    let err = err.text(if out.is_empty() { LIMIT - TITLE.len() } else { LIMIT / 4 });
    let mut text = out.text(LIMIT - TITLE.len() - 1 - err.len());
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + TITLE + &err
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(pieces: &[&[u8]]) -> Bounded {
        let mut stream = Bounded::default();
        pieces.iter().for_each(|piece| stream.push(piece));
        stream
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        assert_eq!(stream(&[b"one\n", b"two\n"]).text(LIMIT), "one\ntwo\n");
        assert_eq!(stream(&[]).text(LIMIT), "");
        let full = vec![b'x'; LIMIT];
        assert_eq!(stream(&[&full]).text(LIMIT).len(), LIMIT);
    }

    #[test]
    fn of_more_both_ends_stay_within_the_limit() {
        let mut long = stream(&[b"begin", &vec![b'x'; 10 * LIMIT], &vec![b'y'; 3 * LIMIT], b"end"]);
        let text = long.text(LIMIT);
        assert!(text.len() <= LIMIT, "{}", text.len());
        assert!(text.starts_with("begin") && text.ends_with("end"), "both ends are there");
        assert!(text.contains("bytes left out"));
        let text = stream(&["ä".repeat(LIMIT).as_bytes()]).text(1_001);
        assert!(text.len() <= 1_001 && text.starts_with('ä') && text.ends_with('ä'));
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(stream(&[b"a\xff\0b"]).text(LIMIT), "a\u{fffd}\u{fffd}b");
        let text = stream(&[&vec![0xff; 2 * LIMIT]]).text(LIMIT);
        assert!(text.len() <= LIMIT);
    }

    #[test]
    fn both_streams_share_the_limit() {
        let big = vec![b'x'; 2 * LIMIT];
        assert!(both(&mut stream(&[&big]), &mut stream(&[&big])).len() <= LIMIT);
        assert_eq!(both(&mut stream(&[b"out"]), &mut stream(&[b"err"])), "out\n[standard error]\nerr");
        assert_eq!(stream(&[b"1\n2\n\n3\n"]).last_lines(2, 100), "2\n3");
    }
}

//! What a command writes, kept within bounds: how it began and how it ended are what people need.

use std::collections::VecDeque;

use crate::event::Output;

/// How it began: the command's own banner, its first error.
const HEAD_BYTES: usize = 16 * 1024;
/// How it ended, where the reason of a failure is. Both together are small enough for a journal.
const TAIL_BYTES: usize = 48 * 1024;

#[derive(Debug, Default)]
pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    cut_bytes: u64,
}

impl Capture {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..over);
        self.cut_bytes = self.cut_bytes.saturating_add(over as u64);
    }

    /// As text, with a line that says what is missing where it is missing, and one for each of `notes` at the end.
    pub(super) fn output(&self, exit_code: Option<i32>, notes: &[String]) -> Output {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let mut text = if self.cut_bytes == 0 {
            // In one piece: a character may lie across the seam.
            String::from_utf8_lossy(&[self.head.as_slice(), &tail].concat()).into_owned()
        } else {
            let cut = self.cut_bytes;
            let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
            format!("{head}\n[furlough: {cut} bytes left out]\n{tail}")
        };
        for note in notes {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&format!("[furlough: {note}]\n"));
        }
        Output { text, cut_bytes: self.cut_bytes, exit_code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_are_kept() {
        for chunk in [1, 7, 4096, 1 << 20] {
            let all: Vec<u8> = (0..200_000_u32).map(|index| b'a' + (index % 23) as u8).collect();
            let mut capture = Capture::default();
            all.chunks(chunk).for_each(|chunk| capture.push(chunk));
            let output = capture.output(Some(3), &[]);
            let cut = 200_000 - HEAD_BYTES - TAIL_BYTES;
            let expected = format!(
                "{}\n[furlough: {cut} bytes left out]\n{}",
                String::from_utf8_lossy(&all[..HEAD_BYTES]),
                String::from_utf8_lossy(&all[200_000 - TAIL_BYTES..])
            );
            assert!(output.text == expected, "in chunks of {chunk}");
            assert_eq!((output.cut_bytes, output.exit_code), (cut as u64, Some(3)));
        }
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let text = format!("{}é{}", "x".repeat(HEAD_BYTES - 1), "y".repeat(TAIL_BYTES - 1));
        let mut capture = Capture::default();
        capture.push(text.as_bytes());
        assert_eq!(capture.output(None, &[]), Output { text, cut_bytes: 0, exit_code: None });
        let mut capture = Capture::default();
        capture.push(b"a\xff");
        assert_eq!(capture.output(None, &["killed".into()]).text, "a\u{fffd}\n[furlough: killed]\n");
        assert_eq!(Capture::default().output(None, &["killed".into()]).text, "[furlough: killed]\n");
    }
}

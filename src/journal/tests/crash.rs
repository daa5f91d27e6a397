//! Processes that die, and two that want the same.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::samples::{begun, noted, run};
use crate::journal::{Journal, JournalError, Sqlite};

const PATH: &str = "FURLOUGH_TEST_JOURNAL";

fn text(seq: u64) -> String {
    format!("{seq} {}", "x".repeat((seq % 97) as usize * 50))
}

/// Not a test: the process that the others start and kill. It says each number it was told is durable.
#[tokio::test]
#[ignore = "started by the other tests here"]
async fn writer() {
    let Ok(path) = std::env::var(PATH) else { return };
    let journal = Sqlite::open(Path::new(&path)).unwrap();
    let id = run("r");
    let _claim = journal.claim(&id, "lab", &["a".to_owned()]).await.unwrap();
    journal.append(&id, vec![begun("p")]).await.unwrap();
    let mut out = std::io::stdout();
    for seq in (2..).step_by(3) {
        journal.append(&id, (seq..seq + 3).map(|seq| noted(seq, &text(seq))).collect()).await.unwrap();
        // The last number of the chunk; the others are then durable too.
        writeln!(out, "durable {}", seq + 2).unwrap();
        out.flush().unwrap();
    }
}

fn start(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::tests::crash::writer", "--ignored", "--nocapture", "--quiet"])
        .env(PATH, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills it once it has said this many numbers; the last number it said.
fn kill_after(mut child: Child, lines: usize) -> u64 {
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut last = 0;
    let mut seen = 0;
    for line in out.lines() {
        let line = line.unwrap();
        // The test harness prints without a line's end before it.
        let Some(number) = line.split("durable ").nth(1) else { continue };
        last = number.parse().unwrap();
        seen += 1;
        if seen == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    last
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    for lines in [1, 7, 40] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/dir/j.db");
        let last = kill_after(start(&path), lines);
        assert!(last >= lines as u64, "it was to live until then");
        let journal = Sqlite::open(&path).unwrap();
        let events = journal.read(&run("r")).await.unwrap();
        assert!(events.len() as u64 >= last, "{} of {last}", events.len());
        assert_eq!((events.len() - 1) % 3, 0, "a chunk is there whole or not at all");
        for (event, seq) in events.iter().zip(1..) {
            assert_eq!(*event, if seq == 1 { begun("p") } else { noted(seq, &text(seq)) });
        }
        // The kernel freed the run; its host is still its own.
        let summary = journal.runs().await.unwrap().remove(0);
        assert_eq!((summary.live, summary.ending, summary.hosts), (false, None, vec!["a".to_owned()]));
        let _claim = journal.claim(&run("r"), "lab", &[]).await.unwrap();
        let seq = events.len() as u64 + 1;
        journal.append(&run("r"), vec![noted(seq, "")]).await.unwrap();
    }
}

#[tokio::test]
async fn a_live_process_keeps_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.db");
    let mut child = start(&path);
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    while !line.contains("durable") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0);
    }
    // Goes on reading, so that the child never waits for a full pipe.
    let drain = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    let journal = Sqlite::open(&path).unwrap();
    assert!(journal.runs().await.unwrap()[0].live);
    let second = journal.claim(&run("r"), "lab", &[]).await;
    assert!(matches!(second, Err(JournalError::RunHeld { .. })), "{second:?}");
    let other = journal.claim(&run("other"), "lab", &["a".to_owned()]).await;
    assert!(matches!(other, Err(JournalError::HostHeld { .. })), "{other:?}");
    // Both write to one file at once.
    let _claim = journal.claim(&run("third"), "lab", &["b".to_owned()]).await.unwrap();
    journal.append(&run("third"), vec![begun("p"), noted(2, "")]).await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    drain.join().unwrap().unwrap();
    let _claim = journal.claim(&run("r"), "lab", &["a".to_owned()]).await.unwrap();
}

#[test]
fn many_open_a_new_journal_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.db");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| Sqlite::open(&path).unwrap());
        }
    });
}

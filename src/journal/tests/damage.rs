//! Files that are not as they should be, and places where none can be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::samples::{begun, noted, run};
use crate::event::Event;
use crate::journal::{Journal, JournalError, Sqlite};

async fn filled(path: &Path) -> (Sqlite, Vec<Event>) {
    let journal = Sqlite::open(path).unwrap();
    let id = run("r");
    let _claim = journal.claim(&id, "lab", &[]).await.unwrap();
    let events: Vec<Event> =
        std::iter::once(begun("p")).chain((2..40).map(|seq| noted(seq, &"y".repeat(700)))).collect();
    for event in &events {
        journal.append(&id, vec![event.clone()]).await.unwrap();
    }
    (journal, events)
}

fn wal(path: &Path) -> PathBuf {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

#[tokio::test]
async fn a_torn_log_keeps_what_is_before_the_tear() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.db");
    let (journal, events) = filled(&path).await;
    let whole = fs::read(wal(&path)).unwrap();
    let copy = |name: &str, log: &[u8]| {
        let copy = dir.path().join(name);
        fs::copy(&path, &copy).unwrap();
        fs::write(wal(&copy), log).unwrap();
        copy
    };
    let mut lengths = Vec::new();
    for cut in [0, 1, 100, 4095, 4096, 4097, 20_000, 60_000] {
        let copy = copy(&format!("cut-{cut}.db"), &whole[..whole.len() - cut]);
        let torn = Sqlite::open(&copy).unwrap();
        let kept = torn.read(&run("r")).await.unwrap();
        assert_eq!(kept, events[..kept.len()], "{cut} bytes cut");
        lengths.push(kept.len());
        // And it can be gone on with.
        let _claim = torn.claim(&run("r"), "lab", &[]).await.unwrap();
        torn.append(&run("r"), vec![noted(kept.len() as u64 + 1, "")]).await.unwrap();
    }
    assert_eq!(lengths[0], events.len());
    assert!(lengths[1] < lengths[0] && lengths[7] < lengths[1] && lengths[7] > 0, "{lengths:?}");
    // A page in the middle that was never written whole: everything from there on is gone, nothing is made up.
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xa5);
    let torn = Sqlite::open(&copy("flipped.db", &damaged)).unwrap();
    let kept = torn.read(&run("r")).await.unwrap();
    assert!(!kept.is_empty() && kept.len() < events.len());
    assert_eq!(kept, events[..kept.len()]);
    drop(journal);
}

#[tokio::test]
async fn a_full_disk_stops_everything_until_it_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.db");
    let journal = Sqlite::open_limited(&path, Some(40)).unwrap();
    let id = run("r");
    let claim = journal.claim(&id, "lab", &[]).await.unwrap();
    journal.append(&id, vec![begun("p")]).await.unwrap();
    let mut last = 1;
    let error = loop {
        match journal.append(&id, vec![noted(last + 1, &"z".repeat(5000))]).await {
            Ok(()) => last += 1,
            Err(error) => break error,
        }
        assert!(last < 1000, "40 pages are not enough for that");
    };
    assert!(last > 1);
    let expected = format!(
        "journal {} could not be written: its disk is full; nothing new is started until it can be: \
         make room on that file system, then `furlough resume` the run",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    // A small one would fit, but there would be a hole before it.
    let again = journal.append(&id, vec![noted(last + 1, "")]).await.unwrap_err();
    assert_eq!(again.to_string(), expected);
    assert_eq!(journal.release(&id, "a").await.unwrap_err().to_string(), expected);
    assert_eq!(journal.read(&id).await.unwrap().len() as u64, last);
    drop((claim, journal));
    let journal = Sqlite::open(&path).unwrap();
    assert_eq!(journal.read(&id).await.unwrap().len() as u64, last);
    let _claim = journal.claim(&id, "lab", &[]).await.unwrap();
    journal.append(&id, vec![noted(last + 1, "")]).await.unwrap();
}

fn opened(path: &Path) -> String {
    Sqlite::open(path).unwrap_err().to_string()
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.db");
    drop(filled(&path).await);
    let sql = |text: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(text).unwrap();
    sql("UPDATE runs SET event_version = 9");
    let journal = Sqlite::open(&path).unwrap();
    let refused = journal.read(&run("r")).await.unwrap_err();
    assert!(matches!(refused, JournalError::Newer { found: 9, known: 1, .. }), "{refused}");
    drop(journal);
    sql("UPDATE meta SET schema_version = 7");
    let before = fs::read(&path).unwrap();
    let expected = format!(
        "journal {} was written by a newer furlough (format 7, this one reads up to 1); use that one",
        path.display()
    );
    assert_eq!(opened(&path), expected);
    assert_eq!(Sqlite::open_read_only(&path).unwrap_err().to_string(), expected);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_no_journal_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    fs::write(&text, "hosts:\n".repeat(100)).unwrap();
    assert!(opened(&text).contains("damaged, or no journal at all"), "{}", opened(&text));
    assert_eq!(fs::read(&text).unwrap(), "hosts:\n".repeat(100).as_bytes());

    let other = dir.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE contacts (name TEXT)").unwrap();
    assert!(opened(&other).contains("another program's database"), "{}", opened(&other));
    assert!(opened(dir.path()).contains("cannot be opened"), "{}", opened(dir.path()));
    // Holds for root too, whom no permission stops.
    let below = opened(&text.join("j.db"));
    assert!(below.contains("it cannot be made: ") && below.contains("choose another place"), "{below}");
    let none = Sqlite::open_read_only(&dir.path().join("none")).unwrap_err().to_string();
    assert!(none.ends_with("there is no such file; there is none until a plan has been run"), "{none}");
    assert!(!dir.path().join("none").exists());
}

#[tokio::test]
async fn it_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/furlough/j.db");
    let (journal, _) = filled(&path).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&wal(&path))), (0o600, 0o600));
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&dir.path().join("state/furlough/j.db.lock.d")), 0o700);
    drop(journal);
}

#[tokio::test]
async fn looking_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.db");
    let (journal, events) = filled(&path).await;
    let looking = Sqlite::open_read_only(&path).unwrap();
    assert_eq!(looking.read(&run("r")).await.unwrap(), events);
    let _claim = journal.claim(&run("r"), "lab", &[]).await.unwrap();
    journal.append(&run("r"), vec![noted(40, "new")]).await.unwrap();
    assert_eq!(looking.read_after(&run("r"), 39).await.unwrap(), [noted(40, "new")]);
    let refused = looking.claim(&run("s"), "lab", &[]).await.unwrap_err().to_string();
    assert!(refused.contains("it was opened for reading"), "{refused}");
}

#[tokio::test]
async fn a_damaged_event_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.db");
    drop(filled(&path).await);
    let sql = r#"UPDATE events SET kind = '{"noted":' WHERE seq = 5"#;
    rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let refused = Sqlite::open(&path).unwrap().read(&run("r")).await.unwrap_err().to_string();
    assert!(refused.contains("event 5 of r: EOF"), "{refused}");
}

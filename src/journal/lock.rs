//! Who has something: a lock of the operating system's on an empty file, which the kernel frees when the process ends,
//! however it ends. A row in a database or a process id in a file would outlive a killed process and need guessing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// Looking whether a lock is held takes it for an instant, so one refusal does not yet mean that it is held.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// File systems allow 255 bytes; some is left for what is put behind.
const LONGEST_NAME: usize = 200;

/// Takes the lock, or `None` while somebody has it. Freed when the last copy of the file is closed, so a child process
/// that is given it holds it on.
pub(crate) fn take(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).read(true).mode(0o600).open(path)?;
    for attempt in 1..=TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if attempt < TRIES => sleep(BETWEEN_TRIES),
            Err(TryLockError::WouldBlock) => {}
        }
    }
    Ok(None)
}

/// Whether a process (this one counts) has it.
pub(crate) fn is_held(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // Shared, so that two who look do not see each other.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A name for a file: the text with everything but ASCII letters, digits and `-` written as `%xx`, so that what an
/// operator types after `resume` cannot name a file elsewhere. What is too long ends in a digest of the whole.
pub(crate) fn file_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    if name.len() > LONGEST_NAME {
        name.truncate(LONGEST_NAME - 64);
        for byte in Sha256::digest(text) {
            name.push_str(&format!("{byte:02x}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_the_directory() {
        assert_eq!(file_name("20261123-1642-9f2c"), "20261123-1642-9f2c");
        assert_eq!(file_name("../a"), "%2e%2e%2fa");
        let (one, other) = (file_name(&format!("{}1", "/".repeat(300))), file_name(&format!("{}2", "/".repeat(300))));
        assert_eq!((one.len(), other.len()), (200, 200));
        assert_ne!(one, other);
    }

    #[test]
    fn a_lock_is_held_once_and_freed_by_dropping() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(!is_held(&path).unwrap());
        let held = take(&path).unwrap().unwrap();
        assert!(is_held(&path).unwrap());
        assert!(take(&path).unwrap().is_none());
        drop(held);
        assert!(!is_held(&path).unwrap());
        assert!(take(&path).unwrap().is_some());
    }
}

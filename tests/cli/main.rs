//! The command line as a person meets it: the program itself, its standard output, standard error and exit code, all in
//! one snapshot. What needs a cloud meets a small scripted Keystone and Nova.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its table has failed")]

mod desk;
mod fake;
mod offline;
mod online;
mod rehearse;
mod runs;

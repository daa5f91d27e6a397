//! Takes OpenStack hypervisors out of service and puts them back without dropping a virtual machine.
//!
//! ```text
//! plan.yaml ──parse──► Plan ──┐
//!                             ├─compile──► Graph ──run──► Event… ──► journal
//! cloud ────observe──► Inventory ┘             │                └──► views
//!                                              └─► preview
//! ```
//!
//! `ARCHITECTURE.md` has the code map, and for each room what is deliberately absent from it.

pub mod cli;
pub mod cloud;
pub mod compile;
pub mod event;
pub mod journal;
pub mod plan;
pub mod rehearse;
pub mod run;
pub mod view;

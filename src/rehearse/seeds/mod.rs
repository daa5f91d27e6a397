//! Nights by the thousand, each from one number: drawn, run over the simulated cloud, and checked against every promise.

pub(in crate::rehearse) mod rows;

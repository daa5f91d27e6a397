//! One night.
pub mod invariants;
#[cfg(test)]
mod tests;

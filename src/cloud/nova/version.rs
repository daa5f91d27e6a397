//! Which microversion each call is made with, and what the service offers.

use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;

use crate::cloud::{Capabilities, CloudErrorKind, Microversion};

/// The oldest release this client was written for is Liberty, whose newest microversion this is.
pub(super) const OLDEST: Microversion = Microversion::v2(12);

/// The minor microversions a call knows how to speak, newest first. A call is made with the newest that the cloud
/// offers, and never with one that was not known when it was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pins(pub &'static [u16]);

impl Pins {
    /// `os-services`: a down cell shows as `UNKNOWN` from 2.69, ids are uuids from 2.53, `forced_down` from 2.11.
    pub(super) const SERVICES: Self = Self(&[69, 53, 11]);
    /// `os-hypervisors/detail`: never above 2.87, because 2.88 took the capacity away; pages from 2.33.
    pub(super) const HYPERVISORS: Self = Self(&[87, 53, 33, 1]);
    pub(super) const AGGREGATES: Self = Self(&[41, 1]);
    /// `os-server-groups`: `policy` and `rules` from 2.64, soft policies from 2.15.
    pub(super) const GROUPS: Self = Self(&[64, 15, 1]);
    /// `servers`: image properties 2.98, pinned zone 2.96, flavor embedded 2.47, tags 2.26, `locked` 2.9.
    pub(super) const SERVERS: Self = Self(&[98, 96, 73, 47, 26, 9]);
    pub(super) const FLAVORS: Self = Self(&[1]);
    /// `os-migrations`: pages and `changes-since` from 2.59, kinds from 2.23.
    pub(super) const MIGRATIONS: Self = Self(&[80, 59, 23, 1]);
    pub(super) const SERVER_MIGRATIONS: Self = Self(&[80, 65, 59, 23]);
    /// `os-instance-actions`: the fault's text from 2.84; of deleted servers from 2.21.
    pub(super) const ACTIONS: Self = Self(&[84, 62, 58, 51, 21, 1]);
    /// `os-migrateLive`: `force` gone 2.68, asynchronous 2.34, host validated 2.30, `auto` 2.25.
    pub(super) const LIVE: Self = Self(&[68, 34, 30, 25, 1]);
    /// `migrate`: to a host from 2.56.
    pub(super) const COLD: Self = Self(&[56, 1]);
    /// Abort of a queued migration from 2.65, of a running one from 2.24.
    pub(super) const ABORT: Self = Self(&[65, 24]);
    /// Actions whose request never changed.
    pub(super) const PLAIN: Self = Self(&[1]);

    /// The newest of these that a cloud offering up to `newest` takes.
    pub(super) fn choose(self, newest: Microversion) -> Option<Microversion> {
        self.0.iter().map(|minor| Microversion::v2(*minor)).find(|pin| *pin <= newest)
    }
}

/// What the service offers at the moment. It may shrink: behind a load balancer, in the middle of an upgrade, one
/// server is older than the others and says so with a 406.
#[derive(Debug)]
pub(super) struct Offer(AtomicU32);

impl Offer {
    pub(super) fn new(newest: Microversion) -> Self {
        Self(AtomicU32::new(pack(newest)))
    }

    pub(super) fn newest(&self) -> Microversion {
        let packed = self.0.load(Ordering::Relaxed);
        // Both halves fit, they were packed from u16.
        Microversion { major: (packed >> 16) as u16, minor: (packed & 0xffff) as u16 }
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        Capabilities { newest: self.newest() }
    }

    /// Never goes up again: a plan was made for what was offered, and more of it is of no use to a run.
    pub(super) fn shrink_to(&self, newest: Microversion) {
        self.0.fetch_min(pack(newest), Ordering::Relaxed);
    }
}

fn pack(version: Microversion) -> u32 {
    (u32::from(version.major) << 16) | u32::from(version.minor)
}

/// `Version 2.104 is not supported by the API. Minimum is 2.1 and maximum is 2.96.` (exception.py
/// `InvalidGlobalAPIVersion`)
pub(super) fn offered_by_406(message: &str) -> Option<Microversion> {
    let after = message.split_once("maximum is ")?.1;
    let end = after.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(after.len());
    after.get(..end)?.trim_end_matches('.').parse().ok()
}

/// `GET /v2.1/`: the newest microversion is called `version` by Nova.
#[derive(Debug, Deserialize)]
pub(super) struct VersionDocument {
    version: VersionRow,
}

#[derive(Debug, Deserialize)]
struct VersionRow {
    #[serde(default)]
    version: String,
}

impl VersionDocument {
    pub(super) fn newest(&self) -> Result<Microversion, CloudErrorKind> {
        let newest = self.version.version.parse::<Microversion>().map_err(|_| CloudErrorKind::Protocol {
            what: format!("the compute API names no newest microversion (`{}`)", self.version.version),
        })?;
        if newest < OLDEST {
            return Err(CloudErrorKind::TooOld {
                what: "furlough",
                needs: OLDEST.to_string(),
                has: newest.to_string(),
            });
        }
        Ok(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_known_microversion_on_offer_is_taken() {
        for (newest, expected) in [(12, Some(1)), (29, Some(25)), (33, Some(30)), (67, Some(34)), (104, Some(68))] {
            assert_eq!(Pins::LIVE.choose(Microversion::v2(newest)), expected.map(Microversion::v2), "2.{newest}");
        }
        assert_eq!(Pins::ABORT.choose(Microversion::v2(23)), None);
        assert_eq!(Pins::LIVE.choose(Microversion { major: 3, minor: 0 }), Some(Microversion::v2(68)));
    }

    #[test]
    fn pins_are_written_newest_first() {
        for pins in [
            Pins::SERVICES,
            Pins::HYPERVISORS,
            Pins::AGGREGATES,
            Pins::GROUPS,
            Pins::SERVERS,
            Pins::MIGRATIONS,
            Pins::SERVER_MIGRATIONS,
            Pins::ACTIONS,
            Pins::LIVE,
            Pins::COLD,
            Pins::ABORT,
        ] {
            assert!(pins.0.is_sorted_by(|a, b| a > b), "{pins:?}");
        }
    }

    #[test]
    fn the_maximum_is_read_from_a_406() {
        let message = "Version 2.999 is not supported by the API. Minimum is 2.1 and maximum is 2.104.";
        assert_eq!(offered_by_406(message), Some(Microversion::v2(104)));
        assert_eq!(offered_by_406("Not acceptable"), None);
        assert_eq!(offered_by_406("maximum is "), None);
    }

    #[test]
    fn an_offer_shrinks_and_never_grows() {
        let offer = Offer::new(Microversion::v2(96));
        offer.shrink_to(Microversion::v2(53));
        offer.shrink_to(Microversion::v2(90));
        assert_eq!(offer.newest(), Microversion::v2(53));
    }

    #[test]
    fn a_cloud_older_than_liberty_is_named_too_old() {
        let document = |version: &str| VersionDocument { version: VersionRow { version: version.to_owned() } };
        assert!(matches!(document("2.3").newest(), Err(CloudErrorKind::TooOld { .. })));
        assert!(matches!(document("").newest(), Err(CloudErrorKind::Protocol { .. })));
        assert_eq!(document("2.12").newest().ok(), Some(Microversion::v2(12)));
    }
}

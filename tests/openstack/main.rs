//! Furlough's binary against a real OpenStack: `cargo test --features openstack --test openstack`.
//!
//! Nothing of the control plane is simulated (Keystone, Placement, Glance, Nova's API, scheduler, conductor and one
//! nova-compute for each of twelve hosts); only the hypervisor is, and a Neutron without ports. `README.md` says how
//! the lab is installed, used by hand, and made to fail. A scenario gets it from [`lab::scenario`], prepares servers
//! and faults, runs the binary, and then looks at Nova through [`nova::Nova`], never through furlough.
//!
//! Every scenario but the race runs on both releases, Nova 34 (microversion 2.104) and Zed (2.93):
//!
//! | module | scenario | what must come of it |
//! |---|---|---|
//! | `emptying` | one host of ACTIVE, SHUTOFF, PAUSED, locked servers and groups; by live, cold and stop | each as it was, the host too; limits kept at every look |
//! | | all hosts, wave by wave, canary first | each disabled once and enabled once; no server sent into its own wave |
//! | | a host disabled beforehand | drained; still disabled, with that reason |
//! | | builds that land during the drain | seen on the next reading, moved too |
//! | | `drain`, then `enable` | given back, what was stopped runs |
//! | | a Nova that offers 2.12, 2.30, 2.60 | the same, by every fallback |
//! | `trouble` | refused after the 202 (`live_fail=check_dest`) | the next rung; or exit 1 with Nova's words, and a resume |
//! | | `live_stuck` | aborted, then cold |
//! | | `cold_fail=dest` | named with Nova's fault; not maintained; no further wave |
//! | | one 409 from the proxy | asked again, one migration |
//! | | a token revoked, tokens of 8 s | logged in again, nothing lost or repeated |
//! | | the answer to every kind of request lost | none is asked twice |
//! | `interruptions` | `kill -9` at five moments, then `resume` | the end of an undisturbed run; each request and the command once |
//! | | Ctrl-C once, twice | exit 130; what waits is withdrawn; `resume` finishes, by the same method |
//! | `refusals` | someone else's VERIFY_RESIZE; an affinity pair; a compiled plan that drifted; a host another run holds | exit 3, named, not one request that changes anything |
//! | `twins` | 44 scripts on the lab and on `cloud::sim` | the same answers, the same states in the same order |
//! | `race` | furlough beside the usual tools | as fast, with few requests |
//!
//! Deliberately absent: servers with ports or volumes, evacuation with shared storage, several cells.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a scenario ends at the first surprise")]

mod emptying;
mod furlough;
mod harness;
mod interruptions;
mod lab;
mod maintenance;
mod nova;
mod proxy;
mod race;
mod refusals;
mod scenario;
mod trouble;
mod twins;

/// Makes each of these functions, `fn(&Scenario)`, a test on each release: `newest::name` and `zed::name`, in the
/// module where it is called.
macro_rules! on_both_releases {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {
        mod newest {
            $($(#[$meta])* #[test] fn $name() { crate::lab::scenario(crate::lab::Release::Newest, super::$name) })+
        }
        mod zed {
            $($(#[$meta])* #[test] fn $name() { crate::lab::scenario(crate::lab::Release::Zed, super::$name) })+
        }
    };
}
use on_both_releases;

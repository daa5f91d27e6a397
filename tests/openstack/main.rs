//! Furlough's binary against a real OpenStack: `cargo test --features openstack --test openstack`.
//!
//! Nothing of the control plane is simulated (Keystone, Placement, Glance, Nova's API, scheduler, conductor and one
//! nova-compute for each of twelve hosts); only the hypervisor is, and a Neutron without ports. `README.md` says how
//! the lab is installed, used by hand, and made to fail. A scenario gets it from [`lab::scenario`], prepares servers
//! and faults, runs the binary, and then looks at Nova through [`nova::Nova`], never through furlough.
//!
//! Every scenario runs on both releases, Nova 34 (microversion 2.104) and Zed (2.93):
//!
//! | scenario | prepared | what must come of it |
//! |---|---|---|
//! | a night's work | 12 hosts of servers: ACTIVE, SHUTOFF, PAUSED, in groups, locked; by live, cold and stop | hosts drained wave by wave and enabled again; every server in its status and lock, groups kept |
//! | disabled beforehand | a host disabled with a reason of someone else's | drained; still disabled at the end, with that reason |
//! | late arrival | a server booted onto a disabled host during its drain | seen on the next reading, moved too |
//! | refused after the 202 | `live_fail=check_dest`: migration `error`, server ACTIVE | Nova's reason shown; the next rung of the ladder |
//! | stalled | `live_stuck=1` | force-complete or abort as the plan says; one migration at a time |
//! | cold lands in ERROR | `cold_fail=dest` | named as a leftover with Nova's fault; its host is not maintained, other hosts go on |
//! | a foreign VERIFY_RESIZE | a resize of someone else's on the host | neither confirmed nor reverted; blocks its host, by name |
//! | conflict | one 409 from the proxy | asked again after a look; one migration |
//! | lost answer | the answer to a live migration cut by the proxy | adopted, never asked for twice |
//! | token expires | tokens of 20 s; a token revoked | logged in again, nothing lost or repeated |
//! | kill -9, resume | killed at several moments of a run | the end state of an undisturbed run; no action sent twice |
//! | host dies | nova-compute of a source, of a destination killed | no evacuation without proof of fencing; leftovers named |
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

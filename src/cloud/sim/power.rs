//! Stops and starts: a task state at once, the guest when its nova-compute has done it.

use super::faults::Fate;
use super::world::{Due, ServerId, World};

impl World {
    /// Nova took the request: the row says what is under way.
    pub(super) fn begin_power(&mut self, server: ServerId, on: bool, fate: Option<Fate>, request: Option<&str>) {
        self.task(server, Some(if on { "powering-on" } else { "powering-off" }));
        let chance = self.chances.power_ignored;
        let ignored = fate == Some(Fate::Ignored) || self.draw("power-ignored", server).chance(chance);
        let after = self.rpc(server);
        let (phase, request) = (if ignored { 2 } else { 0 }, request.map(str::to_owned));
        self.after(after, Due::Power { server, on, phase, request });
    }

    /// 0: the message arrives; 1: the guest is off or on; 2: the message arrives and comes to nothing.
    pub(super) fn power(&mut self, server: ServerId, on: bool, phase: u8, request: Option<String>) {
        let row = &self.servers[server].row.now;
        let task = if on { "powering-on" } else { "powering-off" };
        // Deleted or taken over meanwhile.
        if self.servers[server].deleted || row.task_state.as_deref() != Some(task) {
            return;
        }
        if let Some(host) = self.host_of(server)
            && self.waits_for(host, Due::Power { server, on, phase, request: request.clone() })
        {
            return;
        }
        match phase {
            0 => {
                let running = self.servers[server].running;
                let takes_ms = match (on, running) {
                    (true, _) => self.span("start", server, self.habits.start_ms),
                    (false, true) => self.span("shutdown", server, self.habits.shutdown_ms),
                    (false, false) => 1,
                };
                self.after(takes_ms, Due::Power { server, on, phase: 1, request });
            }
            1 => {
                self.guest(server, on);
                self.edit(server, |row| {
                    if on { "active" } else { "stopped" }.clone_into(&mut row.vm_state);
                    row.task_state = None;
                    row.power_state = Self::power_word(on);
                    row.fault = None;
                });
            }
            _ => {
                let event = if on { "compute_start_instance" } else { "compute_stop_instance" };
                self.say(server, request.as_deref(), event, "libvirtError", "internal error: the guest does not react");
                self.task(server, None);
            }
        }
    }
}

//! What the machine wants done.

use std::net::SocketAddr;
use std::time::Duration;

use qvd_rpc::Reply;
use tokio::time::Instant;

use super::super::launch::{self, Plan};
use super::super::link::Link;
use super::super::port::{Awaited, NxPort};
use super::super::slave;
use super::{Core, NEVER};
use crate::control::Command;
use crate::hooks::Hook;
use crate::machine::{Effect, Event};
use crate::parameters::SessionSpec;
use crate::session::paths::nx_socket;

impl Core {
    /// Has the machine take an event that is no call.
    pub(super) fn step(&mut self, event: Event) {
        self.apply(event);
    }

    /// Has the machine take an event, carries its effects out and those of
    /// what they bring about at once; gives the answer if it was a call.
    pub(super) fn apply(&mut self, event: Event) -> Option<Reply> {
        let mut reply = None;
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.machine.step(event) {
                match effect {
                    Effect::Reply(answer) => reply = Some(answer),
                    effect => events.extend(self.carry_out(effect)),
                }
            }
        }
        self.publish();
        reply
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Reply(_) => {}
            Effect::Prepare(number, stage, spec) => self.prepare(number, stage, &spec),
            Effect::Launch(spec) => {
                return self.launch(&spec).err().map(|reason| Event::Gone {
                    reason: Some(reason),
                });
            }
            Effect::Wake(spec) => {
                match spec.options_line(&nx_socket(&self.paths.dir), self.display()) {
                    Ok(options) => {
                        let wake = Command::Wake {
                            options,
                            name: spec.session.clone(),
                            slave: slave::of(&self.config, &spec),
                            seat: spec.seat.clone(),
                            carrier: launch::carrier(&self.config),
                        };
                        self.carrier.wanted = spec.carrier;
                        self.tell(wake, None);
                    }
                    Err(reason) => tracing::warn!("session cannot be woken: {reason}"),
                }
            }
            Effect::Suspend => self.tell(Command::Suspend, None),
            Effect::Terminate => self.tell(Command::Terminate, None),
            Effect::Kill => {
                if let Some(link) = &self.link {
                    link.kill();
                }
            }
            Effect::OpenPort => return Some(Event::PortOpened(self.open_port())),
            Effect::ClosePort => self.port = None,
            Effect::Arm(time) => self.arm(time),
            Effect::Disarm => self.arm(NEVER),
            Effect::CutShort => {
                if let Some(cut) = self.cut.take() {
                    let _ = cut.send(());
                }
            }
            Effect::Entered(state) => self.entered(state),
            Effect::ClientLeft => self.run_detached(Hook::Suspend),
        }
        None
    }

    fn launch(&mut self, spec: &SessionSpec) -> Result<(), String> {
        let user = self.user.take().ok_or("the session has no user")?;
        self.carrier.wanted = spec.carrier;
        let plan = Plan {
            config: &self.config,
            paths: &self.paths,
            spec,
            user,
            log: &self.log,
        };
        let started = launch::start(plan)?;
        tracing::info!(user = started.record.user, "session");
        self.link = Some(Link::new(started, &self.paths, self.sender.clone())?);
        Ok(())
    }

    fn open_port(&mut self) -> Result<(), String> {
        // A client that was cut off on its way back comes to the same port.
        if self.machine.is_rejoined() && self.port.as_ref().is_some_and(NxPort::is_open) {
            return Ok(());
        }
        // Ports above 4000 + display would not fit; the display's type says so.
        let port = 4000u16.saturating_add(self.display());
        let address = SocketAddr::new(self.config.nx.address, port);
        let number = self.carrier.ports.open();
        let awaited = Awaited {
            offer: self.offer(),
            number,
        };
        let port = NxPort::open(
            address,
            self.gate.borrow().access.clone(),
            awaited,
            self.client_sender.clone(),
        )?;
        self.port = Some(port);
        Ok(())
    }

    pub(super) fn arm(&mut self, time: Duration) {
        self.timer.as_mut().reset(Instant::now() + time);
    }
}

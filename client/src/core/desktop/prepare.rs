//! The way to a session that waits to be drawn.

use nx_proxy::{Display, Engine, Session};
use qvd_broker::{ConnectParameters, VmEntry};

use super::super::broker::{Broker, Tunnel};
use super::super::choice::find;
use super::super::failure::{Code, Failure};
use super::super::session::engine_failed;
use super::super::shares::Slave;
use super::{View, Wish};

/// A VM whose session waits to be drawn.
pub(super) struct Prepared {
    pub(super) vm: VmEntry,
    pub(super) tunnel: Tunnel,
    pub(super) session: Session,
    pub(super) parameters: ConnectParameters,
}

pub(super) async fn prepare(
    engine: &dyn Engine,
    wish: &Wish,
    view: &mut dyn View,
) -> Result<Prepared, Failure> {
    // What is missing here is said before a session is started there.
    engine.check().map_err(engine_failed)?;
    let Some(display) = wish.display.as_deref() else {
        return Err(engine_failed(nx_proxy::Error::NoDisplay));
    };
    let display = async { Display::open(display).await.map_err(engine_failed) };
    let listed = async {
        let events = &mut |event| view.tell(event);
        let mut broker = Broker::open(wish.target.clone(), events).await?;
        let vms = find(&mut broker, &wish.choice, events).await?;
        Ok((broker, vms))
    };
    let (display, (mut broker, found)) = tokio::try_join!(display, listed)?;
    let vm = match found.one {
        Some(vm) => vm,
        None => view.choose(&found.all).await?.clone(),
    };
    if vm.blocked {
        let message = format!("{vm} is blocked");
        return Err(Failure::new(
            Code::NotAllowed,
            qvd_broker::one_line(&message),
        ));
    }
    let events = &mut |event| view.tell(event);
    if wish.kill_vm {
        broker.stop_vm(vm.id, events).await?;
    }
    let mut parameters = wish.parameters.clone();
    if parameters.keyboard.is_none()
        && let Some(keyboard) = display.keyboard()
    {
        super::super::keyboard::describe(keyboard, &mut parameters);
    }
    let mut parameters = parameters.to_parameters();
    if wish.carrier.is_some() {
        // Of a name that clients may send.
        let _ = parameters.set(qvd_carrier::CARRIER, "1");
    }
    let tunnel = broker.connect(vm.id, parameters.clone(), events).await?;
    let mut session = Session::new(display);
    session.options = wish.nx_options.clone();
    session.cups = wish.printers.clone();
    session.slave = wish.slave.as_ref().map(Slave::engine);
    Ok(Prepared {
        vm,
        tunnel,
        session,
        parameters,
    })
}

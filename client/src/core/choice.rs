use qvd_broker::VmEntry;

use super::broker::Broker;
use super::event::Events;
use super::failure::{Code, Failure};

/// Which VM the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The only one, if there is one.
    Only,
    /// The first of the list.
    First,
    /// By id, full name, or unique beginning of the name; in this order.
    Named(String),
}

/// What the user may connect to.
pub(super) struct Found {
    /// The one that is meant, if that is clear.
    pub(super) one: Option<VmEntry>,
    /// Those among which the user has to choose.
    pub(super) all: Vec<VmEntry>,
}

/// Looks for what is meant among the user's VMs and, where none of them is it,
/// among the applications too.
///
/// # Errors
/// Those of [`choose`] and of the broker.
pub(super) async fn find(
    broker: &mut Broker,
    choice: &Choice,
    events: Events<'_>,
) -> Result<Found, Failure> {
    let mut all = broker.vms(&mut *events).await?;
    if !suffices(&all, choice) {
        match broker.applications(events).await {
            Ok(more) => all.extend(more),
            // A broker that has no applications may not know the request.
            Err(failure) if failure.code() == Code::NoSuchVm => {}
            Err(failure) => return Err(failure),
        }
    }
    let one = choose(&all, choice)?.cloned();
    Ok(Found { one, all })
}

/// Whether no application can be meant.
fn suffices(vms: &[VmEntry], choice: &Choice) -> bool {
    match choice {
        Choice::Only | Choice::First => !vms.is_empty(),
        Choice::Named(name) => exact(vms, name).is_some(),
    }
}

/// Picks a VM from the user's list. `Ok(None)`: the user has to be asked.
///
/// # Errors
/// When there is none, or not just one, that fits; the sentence names the
/// candidates.
pub fn choose<'a>(vms: &'a [VmEntry], choice: &Choice) -> Result<Option<&'a VmEntry>, Failure> {
    let Some(first) = vms.first() else {
        return Err(Failure::new(Code::NoSuchVm, "you have no virtual machine"));
    };
    match choice {
        Choice::First => Ok(Some(first)),
        Choice::Only if vms.len() == 1 => Ok(Some(first)),
        Choice::Only => Ok(None),
        Choice::Named(name) => named(vms, name).map(Some),
    }
}

/// By id, then by full name.
fn exact<'a>(vms: &'a [VmEntry], name: &str) -> Option<&'a VmEntry> {
    let by_id = vms.iter().find(|vm| vm.id.to_string() == name);
    by_id.or_else(|| vms.iter().find(|vm| vm.name == name))
}

fn named<'a>(vms: &'a [VmEntry], name: &str) -> Result<&'a VmEntry, Failure> {
    if let Some(vm) = exact(vms, name) {
        return Ok(vm);
    }
    let fitting: Vec<_> = vms.iter().filter(|vm| vm.name.starts_with(name)).collect();
    match fitting.as_slice() {
        [vm] => Ok(vm),
        [] => Err(Failure::new(
            Code::NoSuchVm,
            format!("no virtual machine of yours is called {name}"),
        )),
        several => Err(Failure::new(
            Code::VmChoice,
            format!("{name} could be any of: {}", names(several.iter().copied())),
        )),
    }
}

/// Names for a sentence.
pub(crate) fn names<'a>(vms: impl Iterator<Item = &'a VmEntry>) -> String {
    vms.map(|vm| format!("{} ({})", vm.name, vm.id))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(id: u64, name: &str) -> VmEntry {
        VmEntry {
            id,
            name: name.into(),
            state: "running".into(),
            blocked: false,
            is_application: false,
        }
    }

    fn pick(choice: &Choice) -> Result<Option<u64>, Code> {
        let vms = [
            vm(7, "office"),
            vm(12, "office-old"),
            vm(3, "lab"),
            vm(4, "12"),
        ];
        choose(&vms, choice)
            .map(|vm| vm.map(|vm| vm.id))
            .map_err(|f| f.code())
    }

    #[test]
    fn by_id_then_name_then_unique_beginning() {
        let named = |name: &str| pick(&Choice::Named(name.into()));
        assert_eq!(named("12"), Ok(Some(12)), "an id wins over a name");
        assert_eq!(
            named("office"),
            Ok(Some(7)),
            "a full name wins over a beginning"
        );
        assert_eq!(named("l"), Ok(Some(3)));
        assert_eq!(named("off"), Err(Code::VmChoice));
        assert_eq!(named("home"), Err(Code::NoSuchVm));
        assert_eq!(pick(&Choice::First), Ok(Some(7)));
        assert_eq!(pick(&Choice::Only), Ok(None));
        assert_eq!(choose(&[vm(1, "a")], &Choice::Only).unwrap().unwrap().id, 1);
        assert_eq!(
            choose(&[], &Choice::First).unwrap_err().code(),
            Code::NoSuchVm
        );
    }
}

use super::*;

#[test]
fn a_wait_is_counted_down_where_it_can_be_read() {
    let shown = [0, 100, 250, 999, 1000, 1001, 10_000].map(Duration::from_millis);
    assert_eq!(shown.map(countdown), [0, 0, 0, 0, 1, 2, 10]);
}

#[test]
fn a_filter_looks_at_names_whatever_their_case() {
    let vm = |name: &str| VmEntry {
        id: 1,
        name: name.into(),
        state: "running".into(),
        blocked: false,
        is_application: false,
    };
    let vms = [vm("Office"), vm("lab"), vm("back-OFFICE")];
    assert_eq!(matching(&vms, " office"), [0, 2]);
    assert_eq!(matching(&vms, ""), [0, 1, 2]);
    assert!(matching(&vms, "x").is_empty());
}

//! Lists of VMs on standard output.

use std::fmt::Write as _;

use qvd_broker::VmEntry;

/// A list as a table, or as JSON with the fields of the wire.
pub(super) fn render(vms: &[VmEntry], json: bool, header: bool) -> String {
    if json {
        let list = serde_json::to_string_pretty(vms).unwrap_or_else(|_| "[]".into());
        return format!("{list}\n");
    }
    let rows: Vec<_> = vms.iter().map(row).collect();
    let head = ["ID", "NAME", "STATE", "BLOCKED"].map(str::to_owned);
    let all = header.then_some(&head).into_iter().chain(&rows);
    let mut widths = [0; 4];
    for row in all.clone() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn row(vm: &VmEntry) -> [String; 4] {
    // A name is the broker's: nothing in it may steer the terminal.
    let plain = qvd_broker::one_line;
    let blocked = if vm.blocked { "yes" } else { "no" };
    [
        vm.id.to_string(),
        plain(&vm.name),
        plain(&vm.state),
        blocked.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vms() -> Vec<VmEntry> {
        let vm = |id, name: &str, blocked| VmEntry {
            id,
            name: name.into(),
            state: "running".into(),
            blocked,
            is_application: false,
        };
        vec![vm(1, "office", false), vm(12, "evil\u{1b}[2J", true)]
    }

    #[test]
    fn a_table_is_aligned_and_cannot_steer_the_terminal() {
        let expected = "ID  NAME      STATE    BLOCKED\n\
                        1   office    running  no\n\
                        12  evil [2J  running  yes\n";
        assert_eq!(render(&vms(), false, true), expected);
        assert_eq!(render(&vms(), false, false).lines().count(), 2);
    }

    #[test]
    fn json_has_the_fields_of_the_wire() {
        let text = render(&vms(), true, true);
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(list[0]["id"], 1);
        assert_eq!(list[1]["blocked"], 1);
    }
}

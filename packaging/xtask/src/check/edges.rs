//! Which crate may depend on which.

use std::collections::BTreeSet;

use crate::workspace::Metadata;

/// The allowed edges between the workspace's crates, each with its reason. An
/// edge which is not here is refused: vma, client and server meet on the wire
/// only.
const EDGES: &[(&str, &str, &str)] = &[
    (
        "qvd-rpc",
        "qvd-http1",
        "SimpleRPC is carried by HTTP heads and bodies",
    ),
    (
        "qvd-broker",
        "qvd-http1",
        "the client's dialogue is carried by HTTP heads and bodies",
    ),
    (
        "qvd-net",
        "qvd-http1",
        "drives HTTP connections over sockets",
    ),
    (
        "qvd-net",
        "qvd-carrier",
        "drives the carrier over connections",
    ),
    (
        "qvd-vma",
        "qvd-carrier",
        "knows the tokens a session is resumed with",
    ),
    (
        "qvd-client",
        "qvd-carrier",
        "announces the carrier, and tells it from NX",
    ),
    (
        "qvd-server",
        "qvd-carrier",
        "knows whether a client announces the carrier",
    ),
    (
        "qvd-slave",
        "qvd-http1",
        "the slave channel's requests are HTTP heads",
    ),
    ("qvd-share", "qvd-sftp", "drives both of its engines"),
    (
        "qvd-share",
        "qvd-carrier",
        "knows how it is told of an outage",
    ),
    ("qvd-slaveserver", "qvd-config", "reads vma.conf"),
    ("qvd-slaveserver", "qvd-http1", "answers requests"),
    ("qvd-slaveserver", "qvd-share", "mounts and serves folders"),
    (
        "qvd-slaveserver",
        "qvd-slave",
        "the VM's side of the channel",
    ),
    (
        "qvd-slaveserver",
        "qvd-slaveclient",
        "its tests are the client's end",
    ),
    ("qvd-slaveclient", "qvd-http1", "sends requests"),
    ("qvd-slaveclient", "qvd-share", "serves and mounts folders"),
    (
        "qvd-slaveclient",
        "qvd-slave",
        "the client's side of the channel",
    ),
    ("qvd-vma", "qvd-config", "reads vma.conf"),
    ("qvd-vma", "qvd-http1", "answers RPC requests"),
    ("qvd-vma", "qvd-net", "sockets and relays"),
    ("qvd-vma", "qvd-rpc", "the agent's side of SimpleRPC"),
    ("nx-proxy", "qvd-net", "relays between its sockets"),
    ("qvd-client", "nx-proxy", "draws the session"),
    (
        "qvd-client",
        "qvd-broker",
        "the client's side of the dialogue",
    ),
    ("qvd-client", "qvd-config", "reads client.conf"),
    ("qvd-client", "qvd-http1", "sends requests"),
    ("qvd-client", "qvd-net", "sockets"),
    ("qvd-client", "qvd-slaveclient", "shares folders by itself"),
    ("qvd-client-window", "nx-proxy", "leaves the session"),
    ("qvd-client-window", "qvd-broker", "shows lists of VMs"),
    ("qvd-client-window", "qvd-client", "a view on the core"),
    ("qvd-client-window", "qvd-config", "writes client.conf"),
    (
        "qvd-server",
        "qvd-broker",
        "the broker's side of the dialogue",
    ),
    ("qvd-server", "qvd-config", "reads l7r.conf"),
    ("qvd-server", "qvd-http1", "answers and sends requests"),
    ("qvd-server", "qvd-net", "sockets and relays"),
    ("qvd-server", "qvd-rpc", "the broker's side of SimpleRPC"),
    ("qvd-tests", "nx-proxy", "compares its engines"),
    ("qvd-tests", "qvd-http1", "speaks to programs under test"),
    ("qvd-tests", "qvd-rpc", "speaks to programs under test"),
    ("qvd-tests", "qvd-broker", "speaks to programs under test"),
    ("qvd-tests", "qvd-config", "writes their configuration"),
    ("qvd-tests", "qvd-net", "drives connections"),
    ("qvd-tests", "qvd-carrier", "is a client of the carrier"),
    (
        "xtask",
        "qvd-tests",
        "shows and measures sessions with the tests' harness",
    ),
    (
        "xtask",
        "qvd-rpc",
        "ends sessions, and is an agent for benchmarks",
    ),
    ("xtask", "qvd-broker", "is a client for benchmarks"),
    ("xtask", "qvd-config", "writes manual pages of the keys"),
    (
        "xtask",
        "qvd-vma",
        "writes the manual page of its command line",
    ),
    (
        "xtask",
        "qvd-client",
        "writes the manual page and the completions of its command line",
    ),
    (
        "xtask",
        "qvd-slaveclient",
        "writes the manual pages and the completions of its command line",
    ),
    ("qvd-client", "qvd-share", "watches the mount table"),
    ("xtask", "qvd-http1", "is an agent for benchmarks"),
    ("xtask", "qvd-server", "describes its command line"),
    ("xtask", "nx-proxy", "describes its command line"),
];

/// The folder of the crates without input and output.
const PROTOCOL: &str = "protocol";

/// What such a crate may not depend on, however indirectly: each brings
/// sockets, files, clocks or threads.
const FORBIDDEN_IN_PROTOCOL: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "rustix",
    "nix",
    "libc",
    "getrandom",
    "async-io",
    "futures",
];

/// Tells each forbidden edge.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    let mut wrong = between_members(metadata);
    for package in metadata.members() {
        let folder = crate::workspace::root().join(PROTOCOL);
        if package.directory().starts_with(&folder) {
            wrong.extend(beneath(metadata, &package.id).into_iter().map(|forbidden| {
                format!(
                    "{} is a protocol crate and depends on {forbidden}",
                    package.name
                )
            }));
        }
    }
    wrong
}

fn between_members(metadata: &Metadata) -> Vec<String> {
    let members: BTreeSet<_> = metadata
        .members()
        .map(|package| package.name.as_str())
        .collect();
    let mut wrong = Vec::new();
    for package in metadata.members() {
        for dependency in package
            .dependencies
            .iter()
            .filter(|one| members.contains(&*one.name))
        {
            if !is_allowed(&package.name, &dependency.name) {
                wrong.push(format!(
                    "{} depends on {}, which the table in check/edges.rs does not allow",
                    package.name, dependency.name
                ));
            }
        }
    }
    wrong
}

fn is_allowed(from: &str, to: &str) -> bool {
    // A crate's tests may ask for its own features.
    from == to
        || EDGES
            .iter()
            .any(|(own, other, _)| (*own, *other) == (from, to))
}

/// The forbidden crates which `id` needs when it is built without its tests.
fn beneath(metadata: &Metadata, id: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::from([id.to_owned()]);
    let mut open = vec![id.to_owned()];
    while let Some(id) = open.pop() {
        for edge in metadata.node(&id).into_iter().flat_map(|node| &node.deps) {
            let shipped = edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
            if shipped && seen.insert(edge.pkg.clone()) {
                open.push(edge.pkg.clone());
            }
        }
    }
    let names = seen
        .iter()
        .filter_map(|id| metadata.package(id))
        .map(|package| &package.name);
    names
        .filter(|name| FORBIDDEN_IN_PROTOCOL.contains(&name.as_str()))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(edges: &[(&str, &str)]) -> Metadata {
        let names: BTreeSet<_> = edges.iter().flat_map(|(from, to)| [*from, *to]).collect();
        let packages: Vec<_> = names
            .iter()
            .map(|name| {
                let dependencies: Vec<_> = edges
                    .iter()
                    .filter(|(from, _)| from == name)
                    .map(|(_, to)| serde_json::json!({ "name": to }))
                    .collect();
                let root = crate::workspace::root();
                serde_json::json!({
                    "id": name, "name": name, "targets": [], "dependencies": dependencies,
                    "manifest_path": root.join("protocol").join(name).join("Cargo.toml"),
                })
            })
            .collect();
        let nodes: Vec<_> = names
            .iter()
            .map(|name| {
                let deps: Vec<_> = edges
                    .iter()
                    .filter(|(from, _)| from == name)
                    .map(|(_, to)| serde_json::json!({ "pkg": to, "dep_kinds": [{"kind": null}] }))
                    .collect();
                serde_json::json!({ "id": name, "deps": deps })
            })
            .collect();
        let members: Vec<_> = names.iter().filter(|name| **name != "tokio").collect();
        serde_json::from_value(serde_json::json!({
            "packages": packages, "workspace_members": members,
            "target_directory": "/target", "resolve": { "nodes": nodes },
        }))
        .unwrap()
    }

    #[test]
    fn a_forbidden_edge_is_refused_and_an_allowed_one_is_not() {
        assert!(check(&metadata(&[("qvd-rpc", "qvd-http1")])).is_empty());
        let wrong = check(&metadata(&[("qvd-vma", "qvd-client")]));
        assert_eq!(
            wrong,
            ["qvd-vma depends on qvd-client, which the table in check/edges.rs does not allow"]
        );
    }

    #[test]
    fn a_protocol_crate_may_not_reach_sockets_by_a_detour() {
        let wrong = check(&metadata(&[
            ("qvd-rpc", "qvd-http1"),
            ("qvd-http1", "tokio"),
        ]));
        assert_eq!(
            wrong,
            [
                "qvd-http1 is a protocol crate and depends on tokio",
                "qvd-rpc is a protocol crate and depends on tokio"
            ]
        );
    }

    #[test]
    fn each_edge_of_the_table_is_there_once() {
        let unique: BTreeSet<_> = EDGES.iter().map(|(from, to, _)| (from, to)).collect();
        assert_eq!(unique.len(), EDGES.len());
    }
}

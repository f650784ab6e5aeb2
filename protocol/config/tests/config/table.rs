//! The table of keys is whole and true.

use std::collections::BTreeSet;

use qvd_config::{Program, Properties, Status};

#[test]
fn names_are_unique_and_documented() {
    for program in Program::ALL {
        let mut names = BTreeSet::new();
        for key in program.keys() {
            assert!(names.insert(key.name()), "{}", key.name());
            assert!(key.doc().ends_with('.'), "{}", key.name());
            assert!(program.key(key.name()).is_some(), "{}", key.name());
        }
    }
}

#[test]
fn every_default_is_of_its_keys_type() {
    let none = Properties::new();
    for program in Program::ALL {
        let settings = none.settings(program);
        for key in program.keys().filter(|key| key.is_single()) {
            let setting = settings
                .iter()
                .find(|setting| setting.key == key.name())
                .unwrap();
            assert!(
                key.accepts(&setting.value),
                "{}: {}",
                key.name(),
                setting.value
            );
            assert!(!setting.value.contains("${"), "{}", key.name());
        }
    }
}

#[test]
fn keys_of_the_reference_are_known() {
    let vma = "path.run path.log log.filename log.level log4perl.rootLogger command.nxagent \
        command.nxdiag command.x-session command.xinit command.useradd command.userdel \
        command.groupadd command.groupdel command.mount command.umount command.sshfs \
        command.sftp-server command.open_file command.x11vnc command.lpadmin command.lpstat \
        command.cupsenable command.cupsaccept command.nxagent.args.extra \
        command.x-session.args.extra vma.audio.enable vma.slave.enable vma.slave.command \
        vma.printing.enable vma.pid_file vma.as_user vma.as_group vma.user.home.drive \
        vma.user.home.fs vma.user.home.path vma.user.shares.path vma.user.default.name \
        vma.user.default.groups vma.user.umask vma.user.shell vma.default.lang \
        vma.default.client.keyboard vma.default.client.link vma.sshfs.extra_args \
        vma.x11vnc.confirm.enabled vma.x11vnc.confirm.command vma.x11vnc.extra_args \
        vma.apps.desktop_icons.enable internal.nxagent.display \
        internal.nxagent.timeout.initiating internal.nxagent.timeout.listening \
        internal.nxagent.timeout.suspending internal.nxagent.timeout.stopping \
        internal.vma.nxagent.tolerancechecks vma.on_action.pre-connect vma.on_action.connect \
        vma.on_action.stop vma.on_action.suspend vma.on_action.poweroff vma.on_action.expire \
        vma.on_state.connected vma.on_state.suspended vma.on_state.disconnected \
        vma.on_provisioning.mount_home vma.on_provisioning.add_user \
        vma.on_provisioning.after_add_user vma.rpc.address vma.rpc.port vma.rpc.allow \
        vma.nx.address";
    let client = "client.host.name client.host.port client.user.name client.user.password \
        client.use_ssl client.link client.geometry client.fullscreen client.audio.enable \
        client.audio.compression.enable client.printing.enable client.slave.enable \
        client.slave.command client.file_sharing.enable client.sshfs.extra_args \
        client.nxproxy.extra_args client.nxagent.extra_args client.force.host.name \
        client.force.link client.remember_password client.remember_username \
        client.show.remember_password client.show.settings client.kill_vm.display \
        client.auto_connect client.auto_connect.vm_id client.auto_connect.token client.locale \
        client.auth_env_share.enable client.auth_env_share.list.0 client.ssl.use_cert \
        client.ssl.cert_file client.ssl.key_file client.ssl.ocsp_mode client.ssl.allow_bad_host \
        client.ssl.allow_revoked client.ssl.allow_untrusted client.ssl.allow_expired \
        client.ssl.allow_not_yet_valid client.ssl.allow_insecure_sign_algo \
        client.ssl.allow_weak_key client.ssl.allow_unknown_error \
        client.ssl.allow_ocsp_server_failure client.ssl.allow_ocsp_error \
        client.ssl.error_timeout path.ssl.ca.system.path path.ssl.ca.system.file \
        path.ssl.ca.personal client.usb.enable client.usb.share_all client.usb.share_list \
        client.usb.usbip.port command.nxproxy log.level log.filename client.nx.engine \
        client.reconnect.timeout client.slave.tcp.ports client.slave.printers client.share.1.path \
        client.file_sharing.home internal.client.media";
    let server = "l7r.address l7r.port l7r.use_ssl l7r.pid_file l7r.ssl.cert_file \
        l7r.ssl.key_file l7r.ssl.self_signed l7r.inventory path.log log.level log.filename \
        internal.l7r.timeout.x_start internal.l7r.timeout.listening \
        internal.l7r.timeout.takeover internal.l7r.timeout.vm_start";
    for (program, names) in [
        (Program::Vma, vma),
        (Program::Client, client),
        (Program::Server, server),
    ] {
        for name in names.split_whitespace() {
            assert!(program.key(name).is_some(), "{name}");
        }
    }
}

#[test]
fn only_groups_take_more_than_their_name() {
    assert!(Program::Vma.key("vma.rpc.port.x").is_none());
    assert!(Program::Vma.key("log4perl.").is_none());
    assert!(
        Program::Client
            .key("client.auth_env.share.list.7")
            .is_some()
    );
}

#[test]
fn refused_keys_have_a_reason() {
    let refused: Vec<_> = Program::ALL.into_iter().flat_map(Program::keys).collect();
    let reasons = refused.iter().filter_map(|key| match key.status() {
        Status::Refused(reason) => Some(reason),
        _ => None,
    });
    assert!(reasons.clone().count() > 0);
    assert!(reasons.into_iter().all(|reason| !reason.is_empty()));
}

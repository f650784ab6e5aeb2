//! Programs that others wrote, to measure ours beside.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use qvd_tests::Scene;
use qvd_tests::ports::{self, Lease};
use qvd_tests::process::Process;

/// How long one may take to start.
const START: Duration = Duration::from_secs(20);

/// A running TCP proxy, or several in a row.
#[derive(Debug)]
pub(crate) struct Relay {
    /// What connects to it speaks plain TCP to this port.
    entrance: Lease,
    process: Process,
    /// Before a relay that takes TLS: nginx again, which makes TLS of the
    /// load's plain TCP. It is not measured.
    _front: Option<Process>,
}

impl Relay {
    /// Where the load connects.
    pub(crate) fn entrance(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.entrance.number()).into()
    }

    /// The process group of what is measured.
    pub(crate) fn group(&self) -> u32 {
        self.process.pid()
    }
}

/// A certificate for loopback and its key.
#[derive(Debug)]
pub(crate) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Makes one by the openssl program.
    pub(crate) async fn make(scene: &Scene) -> Result<Self> {
        let (certificate, key) = (scene.path("reference.pem"), scene.path("reference.key"));
        let program = scene
            .installed("openssl", "openssl")?
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate);
        let mut process = scene.start(program)?;
        let status = process.wait(START).await?;
        ensure!(
            status.success(),
            "openssl made no certificate{}",
            process.log().tail()
        );
        Ok(Self { certificate, key })
    }
}

/// nginx's stream module without TLS.
pub(crate) async fn nginx(scene: &Scene, backend: SocketAddr) -> Result<Relay> {
    let entrance = ports::port()?;
    let server = format!(
        "listen 127.0.0.1:{}; proxy_pass {backend};",
        entrance.number()
    );
    let process = start_nginx(scene, "nginx", &server).await?;
    Ok(Relay {
        entrance,
        process,
        _front: None,
    })
}

/// nginx's stream module which takes TLS.
pub(crate) async fn nginx_tls(
    scene: &Scene,
    backend: SocketAddr,
    certificate: &Certificate,
) -> Result<Relay> {
    let port = ports::port()?;
    let server = tls_server(&port, backend, certificate);
    let process = start_nginx(scene, "nginx-tls", &server).await?;
    behind_front(scene, "nginx-tls-front", process, &port).await
}

/// A port which takes TLS for `backend`, which does not.
pub(crate) async fn tls_end(
    scene: &Scene,
    backend: SocketAddr,
    certificate: &Certificate,
) -> Result<(Lease, Process)> {
    let port = ports::port()?;
    let server = tls_server(&port, backend, certificate);
    let process = start_nginx(scene, "nginx-tls-end", &server).await?;
    Ok((port, process))
}

fn tls_server(port: &Lease, backend: SocketAddr, certificate: &Certificate) -> String {
    format!(
        "listen 127.0.0.1:{} ssl; ssl_protocols TLSv1.3; ssl_certificate {}; \
         ssl_certificate_key {}; proxy_pass {backend};",
        port.number(),
        certificate.certificate.display(),
        certificate.key.display(),
    )
}

/// socat between a Unix socket and what it says of the other end.
pub(crate) fn socat(scene: &Scene, socket: &Path, other: &str) -> Result<Process> {
    let program = scene.installed("socat", "socat")?;
    let own = format!("UNIX-CONNECT:{}", socket.display());
    Ok(scene.start(program.args(["-b", "65536", &own, other]))?)
}

/// haproxy without TLS.
pub(crate) async fn haproxy(scene: &Scene, backend: SocketAddr) -> Result<Relay> {
    let entrance = ports::port()?;
    let bind = format!("127.0.0.1:{}", entrance.number());
    let process = start_haproxy(scene, "haproxy", &bind, backend).await?;
    Ok(Relay {
        entrance,
        process,
        _front: None,
    })
}

/// haproxy which takes TLS.
pub(crate) async fn haproxy_tls(
    scene: &Scene,
    backend: SocketAddr,
    certificate: &Certificate,
) -> Result<Relay> {
    let port = ports::port()?;
    let mut both = std::fs::read(&certificate.certificate)?;
    both.extend(std::fs::read(&certificate.key)?);
    let both = scene.write("haproxy.pem", both)?;
    let bind = format!(
        "127.0.0.1:{} ssl crt {} ssl-min-ver TLSv1.3",
        port.number(),
        both.display()
    );
    let process = start_haproxy(scene, "haproxy-tls", &bind, backend).await?;
    behind_front(scene, "haproxy-tls-front", process, &port).await
}

/// A port which speaks plain TCP for `port`, which takes TLS.
pub(crate) async fn front(scene: &Scene, name: &str, port: u16) -> Result<(Lease, Process)> {
    let entrance = ports::port()?;
    let server = format!(
        "listen 127.0.0.1:{}; proxy_pass 127.0.0.1:{port}; proxy_ssl on; \
         proxy_ssl_protocols TLSv1.3;",
        entrance.number(),
    );
    let process = start_nginx(scene, name, &server).await?;
    Ok((entrance, process))
}

async fn behind_front(scene: &Scene, name: &str, process: Process, port: &Lease) -> Result<Relay> {
    let (entrance, front) = front(scene, name, port.number()).await?;
    Ok(Relay {
        entrance,
        process,
        _front: Some(front),
    })
}

async fn start_nginx(scene: &Scene, name: &str, server: &str) -> Result<Process> {
    // As root, nginx would give its workers to a user who may not enter the
    // scene's directory.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let folder = scene.directory().display();
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         daemon off; worker_processes 1; pid {folder}/{name}.pid; {user}\n\
         error_log stderr notice;\n\
         events {{ worker_connections 8192; }}\n\
         stream {{ tcp_nodelay on; proxy_timeout 1h; server {{ {server} }} }}\n"
    );
    let config = scene.write(format!("{name}.conf"), config)?;
    let program = scene.installed("nginx", "nginx")?.named(name);
    let program = program
        .args(["-e", "stderr", "-p"])
        .arg(scene.directory())
        .arg("-c")
        .arg(config);
    let process = scene.start(program)?;
    // The sockets are open before the workers are made.
    process.expect("start worker process", START).await?;
    Ok(process)
}

async fn start_haproxy(
    scene: &Scene,
    name: &str,
    bind: &str,
    backend: SocketAddr,
) -> Result<Process> {
    let config = format!(
        "global\n  maxconn 8000\n  nbthread 1\n\
         defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n\
         listen tunnel\n  bind {bind}\n  server backend {backend}\n"
    );
    let config = scene.write(format!("{name}.cfg"), config)?;
    let program = scene.installed("haproxy", "haproxy")?.named(name);
    let process = scene.start(program.args(["-W", "-f"]).arg(config))?;
    process.expect("Loading success", START).await?;
    Ok(process)
}

/// QEMU's guest agent on a Unix socket.
pub(crate) fn guest_agent(scene: &Scene, socket: &Path) -> Result<Process> {
    let program = scene
        .installed("qemu-ga", "qemu-guest-agent")?
        .args(["-m", "unix-listen", "-p"])
        .arg(socket)
        .arg("-t")
        .arg(scene.directory());
    Ok(scene.start(program)?)
}

//! The broker's decisions, over real sockets, with a SimpleRPC peer whose
//! answers each test chooses. Sessions with real agents are tested elsewhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod connect;
mod peer;
mod requests;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use qvd_config::{Properties, ServerConfig};
use qvd_server::serve::Server;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No wait of these tests takes this long unless something is broken.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the reference's client sent.
const REFERENCE_DIALOGUE: &[u8] = include_bytes!("../data/reference-client-dialogue.http");

/// What the reference's broker answered to a request to connect.
const REFERENCE_CONNECT: &str = include_str!("../data/reference-broker-connect.http");

/// A broker with the users alice and bob, and alice's VMs.
struct Broker {
    port: u16,
    folder: TempDir,
    inner: std::sync::Arc<qvd_server::Broker>,
}

impl Broker {
    /// `vms` is TOML.
    fn start(vms: &str, keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inventory = folder.path().join("inventory.toml");
        std::fs::write(&inventory, with_users(vms)).unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "l7r.address = 127.0.0.1\nl7r.port = 0\nl7r.use_ssl = 0\nl7r.inventory = {}\n\
             l7r.ssl.cert_file = {}\nl7r.ssl.key_file = {}\nl7r.ssl.self_signed = 1\n{keys}\n",
            inventory.display(),
            path("cert.pem"),
            path("key.pem"),
        );
        let properties = Properties::from_sources([("test.conf", text.as_bytes())]).unwrap();
        let config = ServerConfig::from_properties(&properties).unwrap();
        let server = Server::new(&config).unwrap();
        let port = server.address().unwrap().port();
        let inner = server.broker();
        tokio::spawn(server.run());
        Self {
            port,
            folder,
            inner,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// Sends a request of alice and gives the whole answer.
    async fn ask(&self, target: &str, headers: &str) -> String {
        let mut stream = self.connect().await;
        let request = format!("GET {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        read_to_end(stream).await
    }
}

/// alice:s3cret:x, as the reference's client sends it.
const ALICE: &str = "Authorization: Basic YWxpY2U6czNjcmV0Ong=\r\n";

/// bob:bob.
const BOB: &str = "Authorization: Basic Ym9iOmJvYg==\r\n";

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: QVD/1.0\r\n";

fn with_users(vms: &str) -> String {
    let user = |login: &str, password: &str| {
        let hash = qvd_server::auth::hash(&SecretString::from(password)).unwrap();
        format!(
            "[[user]]\nlogin = \"{login}\"\npassword = \"{}\"\n",
            hash.as_str()
        )
    };
    format!("{}{}{vms}", user("alice", "s3cret:x"), user("bob", "bob"))
}

fn vm(id: u64, rpc_port: u16, x_port: u16, more: &str) -> String {
    format!(
        "[[vm]]\nid = {id}\nname = \"vm{id}\"\nusers = [\"alice\"]\naddress = \"127.0.0.1\"\n\
         rpc_port = {rpc_port}\nx_port = {x_port}\n{more}\n"
    )
}

async fn read_to_end(mut stream: impl AsyncRead + Unpin) -> String {
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Reads until `end` has arrived.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        let byte = within(stream.read_u8()).await;
        let byte = byte.unwrap_or_else(|e| {
            panic!(
                "{e} before {end:?}, after {}",
                String::from_utf8_lossy(&answer)
            )
        });
        answer.push(byte);
    }
    String::from_utf8(answer).unwrap()
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("waited too long")
}

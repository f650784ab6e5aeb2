//! QVD's configuration: properties files, the keys the programs know, and the
//! values these have.
//!
//! Nothing here opens a file. A caller reads the files and hands over names and
//! bytes, so the same code serves a daemon, a test and a window:
//!
//! ```
//! use qvd_config::{Properties, VmaConfig, Program};
//!
//! let file = b"log.level = DEBUG\nvma.rpc.port = 3031\n";
//! let properties = Properties::from_sources([("/etc/qvd/vma.conf", file.as_slice())]).unwrap();
//! let config = VmaConfig::from_properties(&properties).unwrap();
//! assert_eq!(config.rpc.port, 3031);
//! assert_eq!(properties.origin("vma.rpc.port").unwrap().to_string(), "/etc/qvd/vma.conf:2");
//! assert!(properties.warnings(Program::Vma).is_empty());
//! ```
//!
//! - [`Properties`] merges files and follows `${other.key}`.
//! - [`VmaConfig`], [`ClientConfig`] and [`ServerConfig`] are the parsed values.
//!   Reading them reports every error at once, with file and line.
//! - [`Program::sections`] is the table of keys with defaults and documentation,
//!   [`manual`] makes a manual page of it, [`sample`] a commented
//!   file.
//! - [`Document`] changes one key of a file and keeps the rest as it is.

#![forbid(unsafe_code)]

pub mod client;
mod document;
mod error;
mod expand;
mod key;
mod lex;
pub mod limits;
mod manual;
mod properties;
mod read;
mod report;
mod sample;
pub mod server;
mod suggest;
pub mod value;
pub mod vma;

pub use client::ClientConfig;
pub use document::Document;
pub use error::{ConfigError, Excess, Origin, Warning};
pub use key::{Key, Program, Section, Status};
pub use manual::manual;
pub use properties::Properties;
pub use report::Setting;
pub use sample::sample;
pub use server::ServerConfig;
pub use vma::VmaConfig;

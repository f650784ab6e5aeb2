//! The client against a real broker and agent: what a person, a script and a
//! kiosk see of it.

mod carrier;
mod carrier_hostile;
mod carrier_outages;
mod carrier_peers;
mod carrier_races;
mod check;
mod command_line;
mod devices;
mod faults;
mod home;
mod kiosk;
mod lists;
mod losses;
mod names;
mod networks;
mod options;
mod order;
mod reconnect;
mod soak;
mod stage;
mod streams;
mod tls;
mod wire;

//! The client's window, as a person with keyboard and mouse uses it.

mod access;
mod again;
mod bus;
mod folders;
mod large;
mod native;
mod pages;
mod places;
mod seat;
mod sessions;
mod tray;
mod trust;
mod ways;

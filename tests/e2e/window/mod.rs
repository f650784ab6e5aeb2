//! The client's window, as a person with keyboard and mouse uses it.

mod access;
mod again;
mod folders;
mod pages;
mod places;
mod seat;
mod sessions;
mod trust;
mod ways;

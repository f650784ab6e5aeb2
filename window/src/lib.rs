//! The pages of the client's window, as the toolkit's compiler made them of
//! `ui/`. They hold no logic: that is the program's.

#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    clippy::uninlined_format_args,
    clippy::redundant_closure_for_method_calls,
    clippy::todo,
    reason = "generated"
)]

slint::include_modules!();

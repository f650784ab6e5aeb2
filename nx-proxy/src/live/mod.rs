//! The engine of this project: NX on the agent's side, X11 on the display's,
//! with no other program between.

mod local;

pub use local::{Accepting, LocalEnd, LocalEnds, NoLocalEnds, Opening};

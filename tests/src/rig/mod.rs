//! Server, agents and clients put together.

//! SQLite only: what tests read from the store's file, or write to it, with SQL of their own.
//!
//! The audit and the crash tests check the service's promises against rows, not through the ports,
//! because the code behind the ports is part of what they check, and because they also read the
//! store of a process that has just been killed. The tests of retention and of dead letters write
//! what only years of use would leave. The schema and the file are SQLite's. Another store needs its
//! own version of this folder; the stories in `store_contract` need none.

pub mod audit;
pub mod direct;
pub mod stored;

//! The person's side: words made safe to show, and words that explain. Pure functions; nothing
//! here touches a terminal.

pub mod explain;
pub mod safe;

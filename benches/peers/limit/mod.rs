//! What the kernel, or a library, gives when nothing else is asked for: the programs that ours is
//! measured against where no peer shows what is possible.

pub(crate) mod plain;
pub(crate) mod servers;
pub(crate) mod tls;

//! Sockets and their buffers. Must not know commands or data.

//! The protocol: bytes to arguments, replies to bytes. Must not know commands, clients or sockets.

//! RESTORE beside redis-server.

//! The keyspace: records, the segmented table, expiry, databases. Must not know the protocol,
//! clients or files.

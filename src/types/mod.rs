//! The data types. Each type's encodings are its own business; must not know keys, databases or
//! clients.

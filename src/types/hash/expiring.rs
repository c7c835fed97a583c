//! A hash of which fields expire, or once did.

use crate::types::entry::expiring::Expiring as Entries;

/// A hash with fields that expire. One that had such fields stays of this kind.
pub struct Expiring {
    pub fields: Entries,
    /// It has, or had, more or longer fields than a packed hash may have.
    pub large: bool,
    /// The time at which the store looks for fields that are due, in milliseconds since 1970;
    /// none if it does not. This is the store's note, and no part of the value.
    pub scheduled: Option<i64>,
}

impl Expiring {
    pub fn new(fields: super::Table, large: bool) -> Expiring {
        Expiring { fields: fields.into(), large, scheduled: None }
    }

    /// As OBJECT ENCODING calls it, as Redis 7.4 does.
    pub fn encoding_name(&self) -> &'static str {
        if self.large { "hashtable" } else { "listpackex" }
    }
}

impl Clone for Expiring {
    fn clone(&self) -> Expiring {
        Expiring { fields: self.fields.clone(), large: self.large, scheduled: None }
    }
}

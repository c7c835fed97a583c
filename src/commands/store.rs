//! What SINTERSTORE, ZRANGESTORE, SORT STORE and their like do with their results.

use crate::server::ctx::Ctx;
use crate::store::NewValue;
use crate::store::db::Expiry;
use crate::types::Loose;

/// Puts a collection of `len` elements in the place of whatever is at a key, and replies how many
/// they are. If there are none, the key goes away.
pub fn store(
    ctx: &mut Ctx,
    key: &[u8],
    result: Loose,
    len: usize,
    class: u16,
    event: &'static str,
) {
    ctx.out.int(len as i64);
    if len == 0 {
        if let Some(edit) = ctx.keys.edit(key) {
            edit.remove_emptied();
        }
        return;
    }
    match result {
        Loose::Inline(kind, bytes) => {
            ctx.keys.set(key, NewValue::Inline(kind, &bytes), Expiry::Never);
        }
        Loose::Object(object) => {
            ctx.keys.set(key, NewValue::Object(Box::new(object)), Expiry::Never);
        }
    }
    ctx.keys.notify(class, event, key);
}

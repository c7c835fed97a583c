//! Hashes (placeholder).
#[derive(Clone)]
pub struct Table;
impl Table {
    pub fn len(&self) -> usize {
        0
    }
}

//! The order of a sorted set: by score, and by the members' bytes where scores are equal. A
//! [`Point`] is a place between two elements, which is all that ranks and ranges need to know.

/// A score as a number whose natural order is that of the scores. Both zeros are one, as they are
/// equal; NaN is no score.
#[inline]
pub fn order(score: f64) -> u64 {
    debug_assert!(!score.is_nan());
    // Adding 0 makes -0 the other zero, and changes no other number.
    let bits = (score + 0.0).to_bits();
    // Negative numbers: a greater magnitude is a smaller number, and all are below the others.
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// A place between elements.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// Among elements of this score, as [`order`] gives it; none where only members count.
    order: Option<u64>,
    side: Side<'a>,
}

/// The place among elements of one score.
#[derive(Clone, Copy, Debug)]
enum Side<'a> {
    Start,
    Before(&'a [u8]),
    Behind(&'a [u8]),
    End,
}

impl<'a> Point<'a> {
    pub fn before_score(score: f64) -> Point<'a> {
        Point { order: Some(order(score)), side: Side::Start }
    }

    pub fn behind_score(score: f64) -> Point<'a> {
        Point { order: Some(order(score)), side: Side::End }
    }

    /// The place where an element of this score and member begins, whether there is one or not.
    #[inline]
    pub fn before(score: f64, member: &'a [u8]) -> Point<'a> {
        Point { order: Some(order(score)), side: Side::Before(member) }
    }

    #[inline]
    pub fn behind(score: f64, member: &'a [u8]) -> Point<'a> {
        Point { order: Some(order(score)), side: Side::Behind(member) }
    }

    /// The place before a member, in a set whose scores are all the same.
    pub fn before_member(member: &'a [u8]) -> Point<'a> {
        Point { order: None, side: Side::Before(member) }
    }

    pub fn behind_member(member: &'a [u8]) -> Point<'a> {
        Point { order: None, side: Side::Behind(member) }
    }

    pub fn start() -> Point<'a> {
        Point { order: None, side: Side::Start }
    }

    pub fn end() -> Point<'a> {
        Point { order: None, side: Side::End }
    }

    /// See [`Point::order`].
    #[inline]
    pub fn order(&self) -> Option<u64> {
        self.order
    }

    /// Whether an element stands before this point. Its member is asked for only if it matters.
    #[inline]
    pub fn is_behind<'b>(&self, order: u64, member: impl FnOnce() -> &'b [u8]) -> bool {
        match self.order {
            Some(own) if own != order => order < own,
            _ => match self.side {
                Side::Start => false,
                Side::Before(own) => member() < own,
                Side::Behind(own) => member() <= own,
                Side::End => true,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_zeros_are_one() {
        assert_eq!(order(0.0), order(-0.0));
        assert!(order(-f64::MIN_POSITIVE) < order(-0.0) && order(0.0) < order(5e-324));
        assert!(order(f64::NEG_INFINITY) < order(f64::MIN));
        assert!(order(f64::MAX) < order(f64::INFINITY));
    }

    proptest! {
        #[test]
        fn orders_as_scores_do(a: f64, b: f64) {
            prop_assert_eq!(Some(order(a).cmp(&order(b))), a.partial_cmp(&b));
        }
    }
}

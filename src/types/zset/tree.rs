//! The order of a large sorted set: a B+ tree over its elements, with the number of elements below
//! each branch, so that ranks are found as fast as elements are.
//!
//! ```text
//! inner  [first element, its order, count, node] ...      up to FANOUT - 1 branches
//!           |                         |
//! leaf   [element, element, ...]   [element, ...]         see `leaf`
//! ```
//!
//! A node is owned by its parent and nothing else points to it, so a tree grows by one small block
//! at a time and is never copied. All ways from the root to a leaf have the same length. A leaf
//! that is full shares with its neighbour before it is split, which keeps leaves fuller; one at
//! either end of the order is left full, as those who append go on appending.
//!
//! The tree orders elements and does not own them: whoever removes one frees it.

use super::leaf::{CAPACITY, Leaf};
use super::member::{Member, Tagged};
use super::order::Point;
use std::ops::Range;

/// An inner node is split when it has so many branches.
const FANOUT: usize = 64;
/// A neighbour that is fuller than this is not worth sharing with.
const SHARES_BELOW: usize = CAPACITY * 3 / 4;

enum Node {
    Leaf(Box<Leaf>),
    Inner(Box<Inner>),
}

struct Branch {
    /// The first element below, and its order: what a search is led by.
    order: u64,
    first: Tagged,
    count: usize,
    node: Node,
}

struct Inner {
    /// The branches' orders once more, side by side: a search looks at these, and they fit caches
    /// that the branches do not.
    orders: [u64; FANOUT],
    branches: Vec<Branch>,
}

pub struct Tree {
    root: Node,
    len: usize,
}

/// Whether a node is at the beginning or the end of the whole order.
#[derive(Clone, Copy)]
struct Ends {
    left: bool,
    right: bool,
}

/// An element on its way to its place.
struct New<'a> {
    member: Member,
    point: Point<'a>,
}

/// Which elements are to be removed.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// The one before a point.
    Before(&'a Point<'a>),
    /// Those from a rank on, as far as one leaf holds them, and at most `limit`.
    Ranks { start: usize, limit: usize },
}

impl Node {
    fn position(&self, point: &Point) -> usize {
        let mut node = self;
        let mut before = 0;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    leaf.prefetch();
                    return before + leaf.position(point);
                }
                Node::Inner(inner) => {
                    let at = inner.branch_at(point);
                    before += inner.branches[..at].iter().map(|b| b.count).sum::<usize>();
                    node = &inner.branches[at].node;
                }
            }
        }
    }

    /// How full it is: elements of a leaf, branches of an inner node.
    fn width(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Inner(inner) => inner.branches.len(),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Node::Leaf(_) => CAPACITY,
            Node::Inner(_) => FANOUT - 1,
        }
    }

    /// Divides what two neighbours hold, which have the same height: the left one has `left` of it
    /// then.
    fn divide(left: &mut Node, right: &mut Node, to_left: usize) {
        match (left, right) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                let all = [left.entries(), right.entries()].concat();
                let (to_left, to_right) = all.split_at(to_left);
                left.fill(to_left);
                right.fill(to_right);
            }
            (Node::Inner(left), Node::Inner(right)) => {
                let mut all: Vec<_> = left.branches.drain(..).collect();
                all.append(&mut right.branches);
                right.branches.extend(all.drain(to_left..));
                left.branches.append(&mut all);
                left.note_orders();
                right.note_orders();
            }
            _ => unreachable!("neighbours have the same height"),
        }
    }
}

impl Branch {
    fn new(node: Node) -> Branch {
        let mut branch = Branch { order: 0, first: Tagged::NONE, count: 0, node };
        branch.refresh();
        branch
    }

    /// Finds out anew what is below.
    fn refresh(&mut self) {
        self.count = match &self.node {
            Node::Leaf(leaf) => leaf.len(),
            Node::Inner(inner) => inner.branches.iter().map(|branch| branch.count).sum(),
        };
        self.refresh_first();
    }

    fn refresh_first(&mut self) {
        match &self.node {
            Node::Leaf(leaf) if leaf.len() > 0 => self.set_first(leaf.first()),
            Node::Inner(inner) if !inner.branches.is_empty() => {
                (self.order, self.first) = (inner.branches[0].order, inner.branches[0].first);
            }
            _ => {}
        }
    }

    fn set_first(&mut self, member: Member) {
        (self.order, self.first) = (member.order(), Tagged::new(member, 0));
    }
}

impl Inner {
    fn new() -> Box<Inner> {
        Box::new(Inner { orders: [0; FANOUT], branches: Vec::with_capacity(FANOUT) })
    }

    /// Notes the orders again, as branches have come or gone.
    fn note_orders(&mut self) {
        for (order, branch) in self.orders.iter_mut().zip(&self.branches) {
            *order = branch.order;
        }
    }

    /// The branch in which a point is. One between two branches is at the end of the left one.
    #[inline]
    fn branch_at(&self, point: &Point) -> usize {
        let orders = &self.orders[..self.branches.len()];
        let behind =
            |at: usize| point.is_behind(orders[at], || self.branches[at].first.member().bytes());
        let (mut low, mut high) = (0, orders.len());
        while low < high {
            let middle = (low + high) / 2;
            if behind(middle) { low = middle + 1 } else { high = middle }
        }
        low.saturating_sub(1)
    }

    /// The branch with the element of this rank, and its rank there.
    fn branch_of_rank(&self, mut rank: usize) -> (usize, usize) {
        for (at, branch) in self.branches.iter().enumerate() {
            if rank < branch.count {
                return (at, rank);
            }
            rank -= branch.count;
        }
        unreachable!("a rank below the count")
    }

    /// Adds an element; what no longer fits is returned as a branch to stand behind this one.
    fn insert(&mut self, new: &New, ends: Ends) -> Option<Branch> {
        let mut at = self.branch_at(&new.point);
        let last = self.branches.len() - 1;
        let ends = Ends { left: ends.left && at == 0, right: ends.right && at == last };
        if let Node::Leaf(leaf) = &self.branches[at].node
            && leaf.is_full()
        {
            if let Some(behind) = end_of(leaf, new, ends) {
                let branch = Branch::new(Node::Leaf(leaf.beside(new.member)));
                self.branches.insert(at + usize::from(behind), branch);
                self.note_orders();
                return self.split_if_full(ends);
            }
            self.make_room(at);
            at = self.branch_at(&new.point);
        }
        let branch = &mut self.branches[at];
        branch.count += 1;
        let right = match &mut branch.node {
            Node::Leaf(leaf) => {
                leaf.prefetch();
                leaf.put(leaf.position(&new.point), new.member);
                None
            }
            Node::Inner(inner) => inner.insert(new, ends),
        };
        if let Some(right) = right {
            branch.count -= right.count;
            branch.refresh_first();
            self.branches.insert(at + 1, right);
            self.note_orders();
            return self.split_if_full(ends);
        }
        if !new.point.is_behind(branch.order, || branch.first.member().bytes()) {
            branch.set_first(new.member);
            self.orders[at] = branch.order;
        }
        // Sharing does not add branches, but splitting a leaf does.
        self.split_if_full(ends)
    }

    fn split_if_full(&mut self, ends: Ends) -> Option<Branch> {
        if self.branches.len() < FANOUT {
            return None;
        }
        let at = match ends {
            Ends { right: true, .. } => FANOUT - 1,
            Ends { left: true, .. } => 1,
            _ => FANOUT / 2,
        };
        let mut right = Inner::new();
        right.branches.extend(self.branches.drain(at..));
        right.note_orders();
        Some(Branch::new(Node::Inner(right)))
    }

    /// Makes room in a full leaf: by sharing with a neighbour, or by splitting it.
    fn make_room(&mut self, at: usize) {
        let has_room = |at: usize| {
            self.branches.get(at).is_some_and(|branch| branch.node.width() <= SHARES_BELOW)
        };
        if at > 0 && has_room(at - 1) {
            self.balance(at - 1);
        } else if has_room(at + 1) {
            self.balance(at);
        } else {
            self.branches.insert(at + 1, Branch::new(Node::Leaf(Leaf::new())));
            self.balance(at);
        }
    }

    /// Divides what the branches `at` and `at + 1` hold into equal parts.
    fn balance(&mut self, at: usize) {
        let [left, right] = &mut self.branches[at..at + 2] else { return };
        let half = (left.node.width() + right.node.width()).div_ceil(2);
        Node::divide(&mut left.node, &mut right.node, half);
        left.refresh();
        right.refresh();
        self.note_orders();
    }

    /// Removes elements of one leaf; returns how many it was.
    fn remove(&mut self, mut place: Place, take: &mut impl FnMut(Member)) -> usize {
        let at = match &mut place {
            Place::Before(point) => self.branch_at(point),
            Place::Ranks { start, .. } => {
                let (at, start_there) = self.branch_of_rank(*start);
                *start = start_there;
                at
            }
        };
        let branch = &mut self.branches[at];
        let removed = match &mut branch.node {
            Node::Leaf(leaf) => remove_from(leaf, &place, take),
            Node::Inner(inner) => inner.remove(place, take),
        };
        branch.count -= removed;
        if branch.count == 0 {
            self.branches.remove(at);
            self.note_orders();
            return removed;
        }
        branch.refresh_first();
        self.orders[at] = branch.order;
        if branch.node.width() < branch.node.capacity() / 4 && self.branches.len() > 1 {
            self.merge(if at > 0 { at - 1 } else { at });
        }
        removed
    }

    /// Joins the branches `at` and `at + 1` if that leaves room, or else lets them share.
    fn merge(&mut self, at: usize) {
        let [left, right] = &mut self.branches[at..at + 2] else { return };
        let width = left.node.width() + right.node.width();
        if width > left.node.capacity() * 3 / 4 {
            self.balance(at);
            return;
        }
        Node::divide(&mut left.node, &mut right.node, width);
        left.refresh();
        self.branches.remove(at + 1);
        self.note_orders();
    }
}

/// Whether a new element belongs before or behind all others, which this full leaf ends: some,
/// and true if behind.
fn end_of(leaf: &Leaf, new: &New, ends: Ends) -> Option<bool> {
    if !ends.left && !ends.right {
        return None;
    }
    let position = leaf.position(&new.point);
    let behind = ends.right && position == leaf.len();
    (behind || ends.left && position == 0).then_some(behind)
}

fn remove_from(leaf: &mut Leaf, place: &Place, take: &mut impl FnMut(Member)) -> usize {
    let range = match place {
        Place::Before(point) => {
            let end = leaf.position(point);
            end - 1..end
        }
        Place::Ranks { start, limit } => *start..leaf.len().min(start.saturating_add(*limit)),
    };
    leaf.entries()[range.clone()].iter().for_each(|entry| take(entry.member()));
    leaf.remove(range.clone());
    range.len()
}

impl Tree {
    pub fn new() -> Tree {
        Tree { root: Node::Leaf(Leaf::new()), len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// How many elements stand before a point.
    pub fn position(&self, point: &Point) -> usize {
        self.root.position(point)
    }

    /// Asks the processor to fetch the leaf in which a point is.
    pub fn prefetch(&self, point: &Point) {
        let mut node = &self.root;
        while let Node::Inner(inner) = node {
            node = &inner.branches[inner.branch_at(point)].node;
        }
        if let Node::Leaf(leaf) = node {
            leaf.prefetch();
        }
    }

    /// Adds an element that is not in the tree.
    pub fn insert(&mut self, member: Member) {
        let new = New { member, point: Point::before(member.score(), member.bytes()) };
        self.len += 1;
        if let Node::Leaf(leaf) = &mut self.root {
            if !leaf.is_full() {
                leaf.put(leaf.position(&new.point), member);
                return;
            }
            self.grow(None);
        }
        if let Node::Inner(inner) = &mut self.root {
            let right = inner.insert(&new, Ends { left: true, right: true });
            if right.is_some() {
                self.grow(right);
            }
        }
    }

    /// Puts a new root above the old one, and perhaps another branch beside that.
    fn grow(&mut self, right: Option<Branch>) {
        let old = std::mem::replace(&mut self.root, Node::Inner(Inner::new()));
        if let Node::Inner(inner) = &mut self.root {
            inner.branches.push(Branch::new(old));
            inner.branches.extend(right);
            inner.note_orders();
        }
    }

    /// Gives an element another score.
    pub fn rescore(&mut self, member: Member, score: f64) {
        let point = Point::behind(member.score(), member.bytes());
        // Where it goes is fetched while it is taken from where it is.
        self.prefetch(&Point::before(score, member.bytes()));
        if !self.rescore_in_place(&point, member, score) {
            self.remove_at(Place::Before(&point), &mut |removed| {
                debug_assert!(removed == member);
            });
            member.set_score(score);
            self.insert(member);
        }
    }

    /// Does it if the element, the one before `point`, stays where it is. It need not find that
    /// out in all cases.
    fn rescore_in_place(&mut self, point: &Point, member: Member, score: f64) -> bool {
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Inner(inner) => {
                    let at = inner.branch_at(point);
                    node = &mut inner.branches[at].node;
                }
                Node::Leaf(leaf) => {
                    leaf.prefetch();
                    let at = leaf.position(point) - 1;
                    debug_assert!(leaf.entries()[at].member() == member);
                    let stays = leaf.may_stay(at, score);
                    if stays {
                        leaf.rescore(at, score);
                    }
                    return stays;
                }
            }
        }
    }

    /// Removes the elements of these ranks, and hands each to `take`.
    pub fn remove(&mut self, ranks: Range<usize>, mut take: impl FnMut(Member)) {
        let mut limit = ranks.end.min(self.len).saturating_sub(ranks.start);
        while limit > 0 {
            limit -= self.remove_at(Place::Ranks { start: ranks.start, limit }, &mut take);
        }
    }

    /// Removes an element or the run of them that a leaf holds; returns how many.
    fn remove_at(&mut self, place: Place, take: &mut impl FnMut(Member)) -> usize {
        let removed = match &mut self.root {
            Node::Leaf(leaf) => remove_from(leaf, &place, take),
            Node::Inner(inner) => inner.remove(place, take),
        };
        self.len -= removed;
        self.shrink();
        removed
    }

    /// Drops roots that lead to one node only, or to none.
    fn shrink(&mut self) {
        while let Node::Inner(inner) = &mut self.root
            && inner.branches.len() <= 1
        {
            let only = inner.branches.pop().map(|branch| branch.node);
            self.root = only.unwrap_or_else(|| Node::Leaf(Leaf::new()));
        }
    }

    /// The leaf that holds a rank, and the rank within it; none if there are not so many elements.
    fn leaf_of(&self, mut rank: usize) -> Option<(&Leaf, usize)> {
        if rank >= self.len {
            return None;
        }
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return Some((leaf, rank)),
                Node::Inner(inner) => {
                    let (at, rank_there) = inner.branch_of_rank(rank);
                    (node, rank) = (&inner.branches[at].node, rank_there);
                }
            }
        }
    }

    /// The elements of these ranks, which must exist, in either direction.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_> {
        debug_assert!(ranks.start <= ranks.end && ranks.end <= self.len);
        Iter { tree: self, ranks, front: &[], back: &[] }
    }

    /// Bytes of memory the nodes take.
    pub fn memory(&self) -> usize {
        fn of(node: &Node) -> usize {
            match node {
                Node::Leaf(_) => size_of::<Leaf>(),
                Node::Inner(inner) => {
                    let below: usize = inner.branches.iter().map(|branch| of(&branch.node)).sum();
                    below + size_of::<Inner>() + inner.branches.capacity() * size_of::<Branch>()
                }
            }
        }
        of(&self.root)
    }
}

#[cfg(test)]
impl Tree {
    /// Fails if anything is not as it must be.
    pub fn check(&self) {
        fn check(node: &Node, is_root: bool) -> (usize, usize) {
            match node {
                Node::Leaf(leaf) => {
                    let members = || leaf.entries().iter().map(|entry| entry.member());
                    let keys: Vec<_> = members().map(|m| (m.order(), m.bytes().to_vec())).collect();
                    assert!(keys.is_sorted_by(|a, b| a < b));
                    assert!(leaf.entries().is_sorted_by_key(|entry| entry.tag()));
                    assert!(is_root || leaf.len() > 0);
                    (leaf.len(), 0)
                }
                Node::Inner(inner) => {
                    assert!(!inner.branches.is_empty() && inner.branches.len() < FANOUT);
                    assert!(!is_root || inner.branches.len() > 1);
                    let mut heights = Vec::new();
                    for (branch, &order) in inner.branches.iter().zip(&inner.orders) {
                        let (count, height) = check(&branch.node, false);
                        assert_eq!((branch.count, branch.order), (count, order));
                        assert_eq!(branch.first.member().order(), order);
                        let first = match &branch.node {
                            Node::Leaf(leaf) => leaf.first(),
                            Node::Inner(inner) => inner.branches[0].first.member(),
                        };
                        assert!(branch.first.member() == first);
                        heights.push(height);
                    }
                    assert!(heights.iter().all(|height| *height == heights[0]));
                    (inner.branches.iter().map(|branch| branch.count).sum(), heights[0] + 1)
                }
            }
        }
        assert_eq!(check(&self.root, true).0, self.len);
    }
}

/// See [`Tree::range`].
#[derive(Clone)]
pub struct Iter<'a> {
    tree: &'a Tree,
    /// What is still to come, of which `front` are the first and `back` the last.
    ranks: Range<usize>,
    front: &'a [Tagged],
    back: &'a [Tagged],
}

/// Elements to be fetched while earlier ones are looked at.
const AHEAD: usize = 8;

impl Iterator for Iter<'_> {
    type Item = Member;

    #[inline]
    fn next(&mut self) -> Option<Member> {
        if self.ranks.is_empty() {
            return None;
        }
        if self.front.is_empty() {
            let (leaf, at) = self.tree.leaf_of(self.ranks.start)?;
            self.front = &leaf.entries()[at..];
            self.front.iter().take(AHEAD).for_each(|entry| entry.prefetch());
        }
        let (first, rest) = self.front.split_first()?;
        self.front = rest;
        if let Some(entry) = rest.get(AHEAD - 1) {
            entry.prefetch();
        }
        self.ranks.start += 1;
        Some(first.member())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.ranks.len(), Some(self.ranks.len()))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Member> {
        if self.ranks.is_empty() {
            return None;
        }
        if self.back.is_empty() {
            let (leaf, at) = self.tree.leaf_of(self.ranks.end - 1)?;
            self.back = &leaf.entries()[..=at];
            self.back.iter().rev().take(AHEAD).for_each(|entry| entry.prefetch());
        }
        let (last, rest) = self.back.split_last()?;
        self.back = rest;
        if rest.len() >= AHEAD {
            rest[rest.len() - AHEAD].prefetch();
        }
        self.ranks.end -= 1;
        Some(last.member())
    }
}

impl ExactSizeIterator for Iter<'_> {}

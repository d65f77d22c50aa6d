//! A set for what is seldom changed and often asked, in one piece of memory.
//!
//! Each kind of item in a tree of the standard library is several kilobytes of code, and a Worker is uploaded whole.

/// Holds items in ascending order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortedSet<T>(Vec<T>);

impl<T: Ord> SortedSet<T> {
    /// Makes an empty set.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds an item, and returns whether it was not there before. Takes as long as moving all greater ones.
    pub fn insert(&mut self, item: T) -> bool {
        let position = self.0.binary_search(&item);
        if let Err(position) = position {
            self.0.insert(position, item);
        }
        position.is_err()
    }

    /// Returns whether the item is there.
    pub fn contains(&self, item: &T) -> bool {
        self.0.binary_search(item).is_ok()
    }

    /// Returns the items in ascending order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// Returns how many items there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Ord> Default for SortedSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Ord> FromIterator<T> for SortedSet<T> {
    /// Adds the items one by one: those in ascending order move nothing, and a sort is 5 kB of code for each kind.
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut set = Self::new();
        for item in items {
            set.insert(item);
        }
        set
    }
}

impl<'a, T: Ord> IntoIterator for &'a SortedSet<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Returns whether no item is there twice. Of bytes alone, so that every shape shares the one set.
pub fn are_distinct(mut items: &mut dyn Iterator<Item = &[u8]>) -> bool {
    let mut seen = SortedSet::new();
    Iterator::all(&mut items, |item| seen.insert(item))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_tree_holds(items in prop::collection::vec(0_u8..32, 0..64)) {
            let (set, model): (SortedSet<_>, BTreeSet<_>) = (items.iter().copied().collect(), items.into_iter().collect());
            prop_assert!(set.iter().eq(&model));
            prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
            for item in 0..32 {
                prop_assert_eq!(set.contains(&item), model.contains(&item));
            }
        }

        #[test]
        fn items_are_distinct_if_a_tree_takes_every_one(items in prop::collection::vec(prop::collection::vec(0_u8..3, 0..3), 0..8)) {
            let mut model = BTreeSet::new();
            let expected = items.iter().all(|item| model.insert(item));
            prop_assert_eq!(are_distinct(&mut items.iter().map(Vec::as_slice)), expected);
        }
    }
}

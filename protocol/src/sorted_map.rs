//! A map for few items, or for what comes in ascending order, in one piece of memory: see [`sorted_set`](crate::sorted_set).

/// Holds items in ascending order of their keys, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortedMap<K, V>(Vec<(K, V)>);

impl<K: Ord, V> SortedMap<K, V> {
    /// Makes an empty map.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn position(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(key))
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.position(key).ok().and_then(|position| self.0.get(position)).map(|(_, value)| value)
    }

    /// Returns the value of a key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.position(key).ok().and_then(|position| self.0.get_mut(position)).map(|(_, value)| value)
    }

    /// Returns whether the key is there.
    pub fn contains_key(&self, key: &K) -> bool {
        self.position(key).is_ok()
    }

    /// Gives a key this value. Takes as long as moving all greater ones, if the key is new.
    pub fn insert(&mut self, key: K, value: V) {
        match self.position(&key) {
            Ok(position) => self.0.splice(position..=position, [(key, value)]).for_each(drop),
            Err(position) => self.0.insert(position, (key, value)),
        }
    }

    /// Takes a key away, and returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.position(key).ok().map(|position| self.0.remove(position).1)
    }

    /// Keeps what is as it should be.
    pub fn retain(&mut self, mut keeps: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keeps(key, value));
    }

    /// Returns the items in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Returns the keys in ascending order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// Returns the values in ascending order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Returns the keys in ascending order.
    pub fn into_keys(self) -> impl Iterator<Item = K> {
        self.0.into_iter().map(|(key, _)| key)
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

impl<K: Ord, V: Default> SortedMap<K, V> {
    /// Returns the value of a key, which has the default one if it is new.
    pub fn get_or_default(&mut self, key: K) -> &mut V {
        let position = match self.position(&key) {
            Ok(position) => position,
            Err(position) => {
                self.0.insert(position, (key, V::default()));
                position
            }
        };
        // The position is that of an item, which is there.
        #[expect(clippy::indexing_slicing, reason = "found or made just now")]
        &mut self.0[position].1
    }
}

impl<K: Ord, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord, V> IntoIterator for SortedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_ascending_and_each_is_there_once() {
        let mut map = SortedMap::new();
        for (key, value) in [(3, "c"), (1, "a"), (2, "b"), (1, "d"), (3, "e")] {
            map.insert(key, value);
        }
        assert_eq!(map.iter().collect::<Vec<_>>(), [(&1, &"d"), (&2, &"b"), (&3, &"e")]);
        assert_eq!((map.get(&2), map.get(&4), map.len()), (Some(&"b"), None, 3));
        *map.get_mut(&2).unwrap() = "f";
        *map.get_or_default(0) = "g";
        *map.get_or_default(3) = "h";
        assert_eq!((map.remove(&1), map.remove(&1)), (Some("d"), None));
        map.retain(|key, _| *key != 0);
        assert_eq!(map.keys().collect::<Vec<_>>(), [&2, &3]);
        assert_eq!(map.values().collect::<Vec<_>>(), [&"f", &"h"]);
        assert!(map.contains_key(&3) && !map.is_empty());
        assert_eq!(map.clone().into_keys().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(map.into_iter().collect::<Vec<_>>(), [(2, "f"), (3, "h")]);
        assert_eq!(SortedMap::<u8, u8>::default().into_iter().count(), 0);
    }
}

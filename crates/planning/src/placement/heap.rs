//! A binary heap whose items can change their key, leave and come back: O(log n) each.

/// The items are numbers, given in order by [`Heap::push`]; the one with the least key is first.
#[derive(Debug)]
pub(super) struct Heap<K> {
    /// Of each item: its key, or that it is not in the heap now.
    keys: Vec<Option<K>>,
    /// Of each item that is in the heap: its place there.
    places: Vec<usize>,
    /// The items, none with a lesser key than the one at half its place.
    items: Vec<usize>,
}

impl<K> Default for Heap<K> {
    fn default() -> Self {
        Self { keys: Vec::new(), places: Vec::new(), items: Vec::new() }
    }
}

impl<K: Copy + Ord> Heap<K> {
    /// A new item, not yet in the heap.
    pub fn push(&mut self) -> usize {
        self.keys.push(None);
        self.places.push(0);
        self.keys.len() - 1
    }

    /// The item with the least key.
    pub fn first(&self) -> Option<(usize, K)> {
        let item = *self.items.first()?;
        self.keys[item].map(|key| (item, key))
    }

    /// The item's key, if it is in the heap now.
    pub fn key(&self, item: usize) -> Option<K> {
        self.keys[item]
    }

    /// Gives an item another key; without one it is not in the heap.
    pub fn set(&mut self, item: usize, key: Option<K>) {
        let before = std::mem::replace(&mut self.keys[item], key);
        match (before, key) {
            (None, None) => {}
            (None, Some(_)) => {
                self.items.push(item);
                self.rise(self.items.len() - 1);
            }
            (Some(_), Some(_)) => self.settle(self.places[item]),
            (Some(_), None) => {
                let place = self.places[item];
                self.items.swap_remove(place);
                if place < self.items.len() {
                    self.settle(place);
                }
            }
        }
    }

    fn settle(&mut self, place: usize) {
        let place = self.rise(place);
        self.sink(place);
    }

    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 && self.is_less(place, (place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        self.places[self.items[place]] = place;
        place
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            if left >= self.items.len() {
                return;
            }
            let least = if right < self.items.len() && self.is_less(right, left) { right } else { left };
            if !self.is_less(least, place) {
                return;
            }
            self.swap(least, place);
            place = least;
        }
    }

    fn is_less(&self, one: usize, other: usize) -> bool {
        self.keys[self.items[one]] < self.keys[self.items[other]]
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.items.swap(one, other);
        self.places[self.items[one]] = one;
        self.places[self.items[other]] = other;
    }
}

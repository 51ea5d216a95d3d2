//! Values at fixed places, in chunks: it grows without moving or doubling, so a million entities cost
//! what they hold.

const CHUNK: usize = 32;

pub(crate) struct Slab<T> {
    /// The first chunk by itself: in most shards it is all that there is, and one step less to get to.
    first: Vec<Option<T>>,
    others: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { first: Vec::new(), others: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many places there are; every value is below.
    pub(crate) fn places(&self) -> u32 {
        // The number of places fits: insert checks it.
        match self.others.last() {
            None => self.first.len() as u32,
            Some(last) => (self.others.len() * CHUNK + last.len()) as u32,
        }
    }

    /// # Panics
    /// Beyond 2³² values.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(place) = self.free.pop() {
            if let Some(at) = self.at_mut(place) {
                *at = Some(value);
            }
            return place;
        }
        let place = self.places();
        assert!(place < u32::MAX, "2^32 entities of one type in one shard");
        match self.others.last_mut() {
            // It grows by itself: most shards of most types hold a few entities.
            None if self.first.len() < CHUNK => self.first.push(Some(value)),
            Some(last) if last.len() < CHUNK => last.push(Some(value)),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(Some(value));
                self.others.push(chunk);
            }
        }
        place
    }

    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        let place = place as usize;
        let at = match place.checked_sub(CHUNK) {
            None => self.first.get(place),
            Some(other) => self.others.get(other / CHUNK)?.get(other % CHUNK),
        };
        at?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.at_mut(place)?.as_mut()
    }

    fn at_mut(&mut self, place: u32) -> Option<&mut Option<T>> {
        let place = place as usize;
        match place.checked_sub(CHUNK) {
            None => self.first.get_mut(place),
            Some(other) => self.others.get_mut(other / CHUNK)?.get_mut(other % CHUNK),
        }
    }

    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.at_mut(place)?.take()?;
        self.len -= 1;
        if self.len == 0 {
            *self = Self::new();
        } else {
            self.free.push(place);
        }
        Some(value)
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        let Self { first, others, .. } = std::mem::replace(self, Self::new());
        first.into_iter().chain(others.into_iter().flatten()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_until_it_is_freed_and_used_again() {
        let mut slab = Slab::new();
        let places: Vec<u32> = (0..100).map(|n| slab.insert(n)).collect();
        assert_eq!((slab.len(), slab.places()), (100, 100));
        assert_eq!(slab.get(places[40]), Some(&40));
        assert_eq!(slab.remove(places[40]), Some(40));
        assert_eq!((slab.get(places[40]), slab.len()), (None, 99));
        assert_eq!(slab.insert(7), places[40]);
        assert_eq!(slab.get_mut(places[99]), Some(&mut 99));
        assert_eq!(slab.remove(1000), None);
    }

    #[test]
    fn an_empty_slab_holds_nothing() {
        let mut slab = Slab::new();
        let place = slab.insert("a");
        slab.remove(place);
        assert_eq!((slab.len(), slab.places(), slab.first.capacity()), (0, 0, 0));
    }
}

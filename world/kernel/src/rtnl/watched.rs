//! Which sandboxes are watched, by their number (nsid) in the host's namespace.

use model::NamespaceId;
use std::collections::BTreeMap;

/// The watched sandboxes.
#[derive(Debug, Default)]
pub(super) struct Watched {
    numbers: BTreeMap<i32, NamespaceId>,
    /// The newest number of those that certainly have theirs still. An identity can have an older one too: the
    /// inode of a namespace that ended is given to the next.
    certain: BTreeMap<NamespaceId, i32>,
}

impl Watched {
    /// Notes the number that a namespace was given.
    pub(super) fn insert(&mut self, number: i32, id: &NamespaceId) {
        // Whoever had the number is gone, and its end was not read yet.
        self.remove(number);
        self.numbers.insert(number, id.clone());
        self.certain.insert(id.clone(), number);
    }

    /// Forgets whoever had this number: it is free again.
    pub(super) fn remove(&mut self, number: i32) -> Option<NamespaceId> {
        let id = self.numbers.remove(&number)?;
        if self.certain.get(&id) == Some(&number) {
            self.certain.remove(&id);
        }
        Some(id)
    }

    /// Forgets those that have none of these numbers, all there are, and returns them. Of the others none is
    /// certain any more: a number may be another's by now.
    pub(super) fn retain(&mut self, numbers: &[i32]) -> Vec<NamespaceId> {
        self.certain.clear();
        let ended: Vec<i32> = self.numbers.keys().filter(|number| !numbers.contains(number)).copied().collect();
        ended.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// No longer takes a namespace for watched.
    pub(super) fn doubt(&mut self, id: &NamespaceId) {
        self.certain.remove(id);
    }

    /// The number of a namespace of this identity that certainly has one still.
    pub(super) fn number(&self, id: &NamespaceId) -> Option<i32> {
        self.certain.get(id).copied()
    }

    /// Whether a namespace of this identity is watched, its end not seen yet.
    pub(super) fn knows(&self, id: &NamespaceId) -> bool {
        self.certain.contains_key(id)
    }

    /// Whose number this is.
    pub(super) fn owner(&self, number: i32) -> Option<&NamespaceId> {
        self.numbers.get(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(inode: u64) -> NamespaceId {
        NamespaceId { device: 4, inode, boot: "b".into() }
    }

    #[test]
    fn a_late_end_leaves_the_one_with_the_same_inode_watched() {
        let mut watched = Watched::default();
        let id = namespace(7);
        watched.insert(0, &id);
        // The namespace ends, the next has its inode and is watched, and then the end is read.
        watched.insert(1, &id);
        assert_eq!(watched.remove(0), Some(id.clone()));
        assert!(watched.knows(&id) && watched.owner(1) == Some(&id));
        assert_eq!(watched.remove(1), Some(id.clone()));
        assert!(!watched.knows(&id));
    }

    #[test]
    fn a_number_that_is_given_again_is_no_longer_the_elders() {
        let mut watched = Watched::default();
        watched.insert(3, &namespace(7));
        watched.insert(3, &namespace(8));
        assert!(!watched.knows(&namespace(7)) && watched.knows(&namespace(8)));
        assert_eq!(watched.remove(3), Some(namespace(8)));
        assert_eq!(watched.remove(3), None);
    }

    #[test]
    fn after_lost_notifications_nothing_is_certain() {
        let mut watched = Watched::default();
        watched.insert(0, &namespace(7));
        watched.insert(1, &namespace(8));
        assert_eq!(watched.retain(&[1, 5]), [namespace(7)]);
        assert!(!watched.knows(&namespace(8)) && watched.owner(1) == Some(&namespace(8)));
        watched.insert(1, &namespace(8));
        watched.doubt(&namespace(8));
        assert!(!watched.knows(&namespace(8)));
    }
}

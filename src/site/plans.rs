//! The garbage collections of a store as one listing shows them, and what a writer
//! of a log concludes from it. Pure but for the listing itself.
//!
//! A plan condemns packs; its end says which of them go. Nobody changes either, and a
//! plan is put only when every one before it has ended, so that at most one is
//! pending. docs/FORMATS.md has the protocol and why it is safe; `gc::protocol` has
//! the collector's half, and tests/gc_model.rs tries both out in every order.

use crate::manifest::keys;
use crate::store::{self, Store};
use std::collections::BTreeSet;

/// Which plans were put and which of them have ended, by generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Plans {
    put: BTreeSet<u64>,
    ended: BTreeSet<u64>,
}

/// What a writer has not taken note of yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// Plans whose packs nothing new may rely on.
    pub condemn: Vec<u64>,
    /// Plans whose end says which packs are no more.
    pub end: Vec<u64>,
}

impl Plans {
    pub fn list(store: &dyn Store) -> Result<Self, store::Error> {
        let mut plans = Self::default();
        store.list(keys::COLLECTIONS, None, &mut |object| {
            if let Some((generation, ended)) = keys::parse_collection_key(object.key.as_str()) {
                plans.add(generation, ended);
            }
        })?;
        Ok(plans)
    }

    /// Takes in one object: a plan, or the end of one.
    pub fn add(&mut self, generation: u64, ended: bool) {
        let objects = if ended { &mut self.ended } else { &mut self.put };
        objects.insert(generation);
    }

    /// What is new to a writer. `known` says of a generation whether its end has
    /// been taken note of, and nothing where nothing of it has.
    ///
    /// A plan that has ended condemns nothing: what it deleted is told by its end,
    /// and all else in it is as good as before.
    pub fn news<E>(
        &self,
        known: &mut dyn FnMut(u64) -> Result<Option<bool>, E>,
    ) -> Result<News, E> {
        let mut news = News::default();
        for generation in self.put.difference(&self.ended) {
            if known(*generation)?.is_none() {
                news.condemn.push(*generation);
            }
        }
        for generation in &self.ended {
            if known(*generation)? != Some(true) {
                news.end.push(*generation);
            }
        }
        Ok(news)
    }

    /// The plan that waits for its end.
    pub fn pending(&self) -> Option<u64> {
        self.put.difference(&self.ended).next().copied()
    }

    /// The number of the plan that may be put when none is pending.
    pub fn next(&self) -> u64 {
        let newest = |objects: &BTreeSet<u64>| objects.last().copied().unwrap_or(0);
        newest(&self.put).max(newest(&self.ended)) + 1
    }
}

/// Whether a segment may refer to a file: each of its chunks lies in a pack that
/// lasts, as far as a listing of the plans tells which the writer made after its
/// session had begun and before this question.
pub fn may_refer<P>(lasting_places: &[Option<P>]) -> bool {
    lasting_places.iter().all(Option::is_some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn plans(put: &[u64], ended: &[u64]) -> Plans {
        Plans { put: put.iter().copied().collect(), ended: ended.iter().copied().collect() }
    }

    fn news(plans: &Plans, known: &[(u64, bool)]) -> News {
        let find = |generation| known.iter().find(|(of, _)| *of == generation).map(|(_, e)| *e);
        let Ok(news) = plans.news(&mut |generation| Ok::<_, Infallible>(find(generation)));
        news
    }

    #[test]
    fn a_writer_hears_of_each_plan_and_each_end_once() {
        let listed = plans(&[1, 2, 3], &[1, 2]);
        assert_eq!(news(&listed, &[]), News { condemn: vec![3], end: vec![1, 2] });
        let known = [(1, true), (2, false)];
        assert_eq!(news(&listed, &known), News { condemn: vec![3], end: vec![2] });
        assert_eq!(news(&listed, &[(1, true), (2, true), (3, false)]), News::default());
    }

    #[test]
    fn one_plan_waits_at_most_and_numbers_are_never_used_again() {
        assert_eq!((plans(&[], &[]).pending(), plans(&[], &[]).next()), (None, 1));
        let listed = plans(&[1, 2], &[1]);
        assert_eq!((listed.pending(), listed.next()), (Some(2), 3));
        // A plan that a listing missed beside its end.
        assert_eq!((plans(&[1], &[1, 2]).pending(), plans(&[1], &[1, 2]).next()), (None, 3));
    }
}

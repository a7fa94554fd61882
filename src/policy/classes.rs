//! Named classes: who is defined where, who refers to whom, and no circles.
//!
//! Classes are numbered before any is read, so that a reference across files
//! resolves at once. A cycle would never end an evaluation; it is found here
//! and named, and only an acyclic set gets its costs and its order.

use super::PolicySet;
use super::condition::Condition;
use super::load::refuse_empty;
use super::predicates::{PREDICATES, Predicates};
use crate::document::{Item, Place, Section};
use std::collections::BTreeMap;

/// Every class of the set, numbered in the order of the files.
pub(super) struct ClassTable<'d, 't> {
    classes: Vec<Class<'d, 't>>,
    indices: BTreeMap<&'d str, usize>,
}

struct Class<'d, 't> {
    name: &'d str,
    place: Place,
    item: Item<'d, 't>,
    section: &'d Section<'d, 't>,
}

/// How far the search for cycles has come with a class.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}

impl<'d, 't> ClassTable<'d, 't> {
    pub fn collect(tops: &'d [Section<'d, 't>]) -> Self {
        let mut table = Self { classes: Vec::new(), indices: BTreeMap::new() };
        for top in tops {
            let Some(all) = top.item("class") else { continue };
            let Some(all) = all.open_section("class (written [class.NAME])") else { continue };
            for (name, place, item) in all.entries() {
                if let Some(earlier) = table.indices.get(name) {
                    let earlier = &table.classes[*earlier].place;
                    let what = format!("class {name:?} is already defined at {earlier}");
                    top.doc().problem_at(place, what, "give each class its own name");
                    continue;
                }
                table.indices.insert(name, table.classes.len());
                table.classes.push(Class { name, place, item, section: top });
            }
        }
        table
    }

    pub fn indices(&self) -> BTreeMap<&'d str, usize> {
        self.indices.clone()
    }

    /// The condition of each class, in the order of their numbers.
    pub fn read(&self, predicates: &Predicates<'_>) -> Vec<Condition> {
        let read = |class: &Class<'d, 't>| {
            let section = class.item.section(format!("class {:?}", class.name), &PREDICATES);
            section.map_or(Condition::All(Vec::new()), |section| {
                refuse_empty(&section);
                predicates.read(&section)
            })
        };
        self.classes.iter().map(read).collect()
    }

    /// Puts the classes into the set, each sorted by cost, and returns the
    /// costs. A cycle is noted, and then the set gets no classes.
    pub fn order(&self, mut conditions: Vec<Condition>, set: &mut PolicySet) -> Vec<u8> {
        let mut costs = vec![0; conditions.len()];
        let mut search = Search {
            conditions: &conditions,
            visits: vec![Visit::New; conditions.len()],
            open: Vec::new(),
            finished: Vec::new(),
            cycle: None,
        };
        (0..conditions.len()).for_each(|index| search.visit(index));
        let (finished, cycle) = (search.finished, search.cycle);
        if let Some(cycle) = cycle {
            self.note_cycle(&cycle);
            // References must stay inside the table while the rules are read.
            conditions.fill(Condition::All(Vec::new()));
        } else {
            // A class is finished after all that it refers to.
            for index in finished {
                conditions[index].sort_by_cost(&costs);
                costs[index] = conditions[index].cost(&costs);
            }
        }
        set.class_names = self.classes.iter().map(|class| class.name.to_owned()).collect();
        set.class_conditions = conditions;
        costs
    }

    fn note_cycle(&self, cycle: &[usize]) {
        let first = &self.classes[cycle[0]];
        let path: Vec<&str> =
            cycle.iter().chain(&cycle[..1]).map(|index| self.classes[*index].name).collect();
        let what = format!("class {:?} is made of itself: {}", first.name, path.join(" -> "));
        first.section.doc().problem_at(first.place.clone(), what, "break the circle");
    }
}

struct Search<'c> {
    conditions: &'c [Condition],
    visits: Vec<Visit>,
    /// The path from the start to the class being visited.
    open: Vec<usize>,
    finished: Vec<usize>,
    cycle: Option<Vec<usize>>,
}

impl Search<'_> {
    fn visit(&mut self, index: usize) {
        match self.visits[index] {
            Visit::Done => return,
            Visit::Open => {
                let start = self.open.iter().position(|open| *open == index);
                let start = start.expect("an open class is on the path");
                self.cycle.get_or_insert_with(|| self.open[start..].to_vec());
                return;
            }
            Visit::New => {}
        }
        self.visits[index] = Visit::Open;
        self.open.push(index);
        let mut next = Vec::new();
        self.conditions[index].for_each_class(&mut |class| next.push(class));
        next.into_iter().for_each(|class| self.visit(class));
        self.open.pop();
        self.visits[index] = Visit::Done;
        self.finished.push(index);
    }
}

//! Archive classes for the server in the test's process, which has none itself: an
//! object that is put in one answers GET with `InvalidObjectState` until a thaw was
//! ordered and [`Vault::release`]d by the test.

use std::collections::HashMap;
use std::sync::Mutex;

/// Where the thaw of an object stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Thaw {
    Ordered,
    /// A copy is there; with its `expiry-date`.
    Brought(String),
}

/// An order as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub key: String,
    pub tier: String,
    pub days: String,
}

/// What the server does with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clerk {
    #[default]
    Obliging,
    /// 403: the credentials lack the permission.
    Forbidding,
    /// Takes the order and its answer is that it was under way already.
    Elsewhere,
}

/// The archive.
#[derive(Debug, Default)]
pub struct Vault {
    classes: Mutex<HashMap<String, String>>,
    thaws: Mutex<HashMap<String, Thaw>>,
    orders: Mutex<Vec<Order>>,
    clerk: Mutex<Clerk>,
}

/// How an order is answered: status, error code.
pub type Answer = (u16, &'static str);

impl Vault {
    pub fn keep(&self, key: &str, class: Option<&str>) {
        let mut classes = self.classes.lock().expect("no panic");
        match class {
            Some(class) => drop(classes.insert(key.to_owned(), class.to_owned())),
            None => drop(classes.remove(key)),
        }
        self.thaws.lock().expect("no panic").remove(key);
    }

    /// The class of every object that has one, as its bucket's owner sees it.
    pub fn classes(&self) -> HashMap<String, String> {
        self.classes.lock().expect("no panic").clone()
    }

    pub fn class_of(&self, key: &str) -> Option<String> {
        self.classes.lock().expect("no panic").get(key).cloned()
    }

    fn is_archived(&self, key: &str) -> bool {
        self.class_of(key).is_some_and(|class| class == "GLACIER" || class == "DEEP_ARCHIVE")
    }

    pub fn is_locked(&self, key: &str) -> bool {
        let thaws = self.thaws.lock().expect("no panic");
        self.is_archived(key) && !matches!(thaws.get(key), Some(Thaw::Brought(_)))
    }

    /// `x-amz-restore`.
    pub fn header_of(&self, key: &str) -> Option<String> {
        Some(match self.thaws.lock().expect("no panic").get(key)? {
            Thaw::Ordered => "ongoing-request=\"true\"".to_owned(),
            Thaw::Brought(until) => {
                format!("ongoing-request=\"false\", expiry-date=\"{until}\"")
            }
        })
    }

    pub fn order(&self, key: &str, body: &str) -> Answer {
        let clerk = *self.clerk.lock().expect("no panic");
        if clerk == Clerk::Forbidding {
            return (403, "AccessDenied");
        }
        if !self.is_archived(key) {
            return (403, "InvalidObjectState");
        }
        let mut thaws = self.thaws.lock().expect("no panic");
        if thaws.get(key) == Some(&Thaw::Ordered) {
            return (409, "RestoreAlreadyInProgress");
        }
        let field = |name: &str| {
            let rest = body.split_once(&format!("<{name}>"))?.1;
            rest.split('<').next().map(str::to_owned)
        };
        let (tier, days) = (field("Tier").unwrap_or_default(), field("Days").unwrap_or_default());
        self.orders.lock().expect("no panic").push(Order { key: key.to_owned(), tier, days });
        let again = thaws.contains_key(key);
        thaws.entry(key.to_owned()).or_insert(Thaw::Ordered);
        match clerk {
            Clerk::Elsewhere => (409, "RestoreAlreadyInProgress"),
            _ if again => (200, ""),
            _ => (202, ""),
        }
    }

    /// Every order that was taken.
    pub fn orders(&self) -> Vec<Order> {
        self.orders.lock().expect("no panic").clone()
    }

    pub fn behave(&self, clerk: Clerk) {
        *self.clerk.lock().expect("no panic") = clerk;
    }

    /// Brings a copy of up to so many of what was ordered.
    pub fn release(&self, most: usize) {
        let mut thaws = self.thaws.lock().expect("no panic");
        let ordered = thaws.values_mut().filter(|thaw| **thaw == Thaw::Ordered);
        for thaw in ordered.take(most) {
            *thaw = Thaw::Brought("Fri, 01 Jan 2100 00:00:00 GMT".to_owned());
        }
    }

    /// Takes every copy away again.
    pub fn expire(&self) {
        self.thaws.lock().expect("no panic").clear();
    }

    /// A lifecycle rule moves what there is, of which keys contain `part`.
    pub fn move_all(&self, keys: &[String], class: &str) {
        keys.iter().for_each(|key| self.keep(key, Some(class)));
    }
}

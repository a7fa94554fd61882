//! The weight expression of a watermark: which files go first.
//!
//! ```text
//! sum     = product { ("+" | "-") product }
//! product = factor { ("*" | "/") factor }
//! factor  = "-" factor | number | variable | "(" sum ")"
//!         | ("min" | "max") "(" sum { "," sum } ")"
//! ```
//! Variables: `size_mib`, `idle_days`, `atime_days`, `mtime_days`. The file with
//! the greatest weight goes first; a weight that is no number (a division by
//! zero) goes last. Numbers are `f64`; nothing else exists, on purpose.

use super::condition::Age;
use super::facts::Facts;

/// Deep enough for people, shallow enough for the stack.
const DEEPEST: usize = 64;
const NS_PER_DAY: f64 = 86_400e9;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    written: String,
    root: Node,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Variable(Variable),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Least(Vec<Node>),
    Greatest(Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variable {
    SizeMib,
    IdleDays,
    AtimeDays,
    MtimeDays,
}

/// Names of the variables, for messages.
pub(super) const VARIABLES: [&str; 4] = ["size_mib", "idle_days", "atime_days", "mtime_days"];

/// Where and why an expression cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad weight at character {}: {why}", .offset + 1)]
pub struct BadWeight {
    /// Bytes from the start of the expression.
    pub offset: usize,
    pub why: String,
}

impl Weight {
    pub fn parse(text: &str) -> Result<Self, BadWeight> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        let root = reader.sum()?;
        match reader.peek() {
            None => Ok(Self { written: text.to_owned(), root }),
            Some(found) => Err(reader.bad(format!("expected an operator, found {found:?}"))),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The file's weight; not finite where the expression divides by zero.
    pub fn of(&self, facts: &Facts<'_>, now_ns: i64) -> f64 {
        self.root.value(facts, now_ns)
    }
}

impl Node {
    fn value(&self, facts: &Facts<'_>, now_ns: i64) -> f64 {
        let of = |node: &Node| node.value(facts, now_ns);
        match self {
            Self::Number(number) => *number,
            Self::Variable(variable) => variable.value(facts, now_ns),
            Self::Negate(node) => -of(node),
            Self::Binary(operator, left, right) => operator.apply(of(left), of(right)),
            Self::Least(nodes) => nodes.iter().map(of).fold(f64::INFINITY, f64::min),
            Self::Greatest(nodes) => nodes.iter().map(of).fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

impl Operator {
    fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
        }
    }
}

impl Variable {
    fn value(self, facts: &Facts<'_>, now_ns: i64) -> f64 {
        let days = |age: Age| age.of(facts, now_ns).unwrap_or(i64::MAX) as f64 / NS_PER_DAY;
        match self {
            Self::SizeMib => facts.size_bytes as f64 / f64::from(1 << 20),
            Self::IdleDays => days(Age::Idle),
            Self::AtimeDays => days(Age::Atime),
            Self::MtimeDays => days(Age::Mtime),
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn bad(&self, why: impl Into<String>) -> BadWeight {
        BadWeight { offset: self.at, why: why.into() }
    }

    /// The next character that is no blank, not taken.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn sum(&mut self) -> Result<Node, BadWeight> {
        let mut left = self.product()?;
        loop {
            let operator = match self.peek() {
                Some('+') => Operator::Add,
                Some('-') => Operator::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Node::Binary(operator, Box::new(left), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Node, BadWeight> {
        let mut left = self.factor()?;
        loop {
            let operator = match self.peek() {
                Some('*') => Operator::Multiply,
                Some('/') => Operator::Divide,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Node::Binary(operator, Box::new(left), Box::new(self.factor()?));
        }
    }

    fn factor(&mut self) -> Result<Node, BadWeight> {
        if self.depth == DEEPEST {
            return Err(self.bad(format!("nested deeper than {DEEPEST}")));
        }
        self.depth += 1;
        let node = match self.peek() {
            Some('-') => {
                self.at += 1;
                Node::Negate(Box::new(self.factor()?))
            }
            Some('(') => {
                self.at += 1;
                let node = self.sum()?;
                self.close()?;
                node
            }
            Some(c) if c.is_ascii_digit() => self.number()?,
            Some(c) if c.is_ascii_alphabetic() => self.named()?,
            Some(found) => return Err(self.bad(format!("expected a value, found {found:?}"))),
            None => return Err(self.bad("expected a value, found the end")),
        };
        self.depth -= 1;
        Ok(node)
    }

    fn close(&mut self) -> Result<(), BadWeight> {
        if self.take(')') { Ok(()) } else { Err(self.bad("expected \")\"")) }
    }

    fn span(&self, belongs: impl Fn(char) -> bool) -> &'t str {
        let rest = &self.text[self.at..];
        &rest[..rest.find(|c| !belongs(c)).unwrap_or(rest.len())]
    }

    fn number(&mut self) -> Result<Node, BadWeight> {
        let digits = self.span(|c| c.is_ascii_digit() || c == '.');
        let number = digits.parse().map_err(|_| self.bad(format!("{digits:?} is no number")))?;
        self.at += digits.len();
        Ok(Node::Number(number))
    }

    fn named(&mut self) -> Result<Node, BadWeight> {
        let name = self.span(|c| c.is_ascii_alphanumeric() || c == '_');
        let variable = match name {
            "size_mib" => Variable::SizeMib,
            "idle_days" => Variable::IdleDays,
            "atime_days" => Variable::AtimeDays,
            "mtime_days" => Variable::MtimeDays,
            "min" | "max" => return self.call(name),
            _ => {
                let known = VARIABLES.join(", ");
                return Err(self.bad(format!("unknown name {name:?}; known are {known}, min, max")));
            }
        };
        self.at += name.len();
        Ok(Node::Variable(variable))
    }

    fn call(&mut self, name: &str) -> Result<Node, BadWeight> {
        self.at += name.len();
        if !self.take('(') {
            return Err(self.bad(format!("expected \"(\" after {name}")));
        }
        let mut arguments = vec![self.sum()?];
        while self.take(',') {
            arguments.push(self.sum()?);
        }
        self.close()?;
        Ok(if name == "min" { Node::Least(arguments) } else { Node::Greatest(arguments) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::facts;
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 86_400_000_000_000;

    fn weigh(text: &str) -> f64 {
        let now_ns = 1_000 * DAY;
        let mut facts = facts("a");
        facts.size_bytes = 10 << 20;
        facts.atime_ns = now_ns - 4 * DAY;
        facts.mtime_ns = now_ns - 20 * DAY;
        Weight::parse(text).expect(text).of(&facts, now_ns)
    }

    #[test]
    fn expressions_are_computed() {
        let table = [
            ("1 + 2 * 3", 7.0),
            ("(1 + 2) * 3", 9.0),
            ("10 - 4 - 3", 3.0),
            ("12 / 4 / 3", 1.0),
            ("-2 * -3", 6.0),
            ("min(3, 1, 2) + max(4)", 5.0),
            ("size_mib", 10.0),
            ("atime_days", 4.0),
            ("mtime_days", 20.0),
            ("idle_days", 4.0),
            ("size_mib * max(idle_days - 7, 0.5)", 5.0),
        ];
        for (text, want) in table {
            assert!((weigh(text) - want).abs() < 1e-9, "{text} = {}", weigh(text));
        }
        assert!(!weigh("1 / 0").is_finite());
    }

    #[test]
    fn a_mistake_is_named_with_its_character() {
        let table = [
            ("", "bad weight at character 1: expected a value, found the end"),
            ("1 +", "bad weight at character 4: expected a value, found the end"),
            ("1 2", "bad weight at character 3: expected an operator, found '2'"),
            ("(1", "bad weight at character 3: expected \")\""),
            ("max 1", "bad weight at character 5: expected \"(\" after max"),
            ("1.2.3", "bad weight at character 1: \"1.2.3\" is no number"),
            ("2 * ü", "bad weight at character 5: expected a value, found 'ü'"),
            (
                "size * 2",
                "bad weight at character 1: unknown name \"size\"; known are size_mib, idle_days, atime_days, mtime_days, min, max",
            ),
        ];
        for (text, want) in table {
            assert_eq!(Weight::parse(text).expect_err(text).to_string(), want);
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(Weight::parse(&"(".repeat(100_000)).is_err());
        assert!(Weight::parse(&"-".repeat(100_000)).is_err());
        assert!(Weight::parse(&format!("{}1{}", "(".repeat(60), ")".repeat(60))).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-+*/(), .0-9a-z_ü]{0,40}") {
            let _ = Weight::parse(&text);
        }
    }
}

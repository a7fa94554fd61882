//! Small aligned tables for people: `status`, `doctor`, `policy show`.
//!
//! Everything is held in memory to measure the columns, so listings of a
//! whole tree (`ls`, `find`) print fixed-width lines instead.

use super::error::Error;
use super::output::Output;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Rows of text with one alignment per column.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[Align]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Prints the [`Table::lines`].
    pub fn print(&self, out: &Output, indent: &str) -> Result<(), Error> {
        self.lines(indent).iter().try_for_each(|line| out.line(line))
    }

    /// The rows, two spaces between columns, no trailing blanks.
    pub fn lines(&self, indent: &str) -> Vec<String> {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| self.rows.iter().map(|row| cell_width(row, column)).max().unwrap_or(0))
            .collect();
        self.rows.iter().map(|row| self.render(row, &widths, indent)).collect()
    }

    fn render(&self, row: &[String], widths: &[usize], indent: &str) -> String {
        let mut line = indent.to_owned();
        for (column, (align, width)) in self.columns.iter().zip(widths).enumerate() {
            let cell = row.get(column).map_or("", String::as_str);
            let padding = " ".repeat(width - cell.chars().count());
            if column > 0 {
                line.push_str("  ");
            }
            match align {
                Align::Left => line.extend([cell, &padding]),
                Align::Right => line.extend([&padding, cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

fn cell_width(row: &[String], column: usize) -> usize {
    row.get(column).map_or(0, |cell| cell.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Left]);
        table.row(["stub", "12", "x"]);
        table.row(["résumé", "3"]);
        assert_eq!(table.lines("  "), ["  stub    12  x", "  résumé   3"]);
    }
}

//! "Did you mean": the known word nearest to a mistyped one.
//!
//! The distance counts inserted, deleted, replaced and swapped neighbouring
//! characters (optimal string alignment). A word that is further away than a
//! third of its length is not suggested: a wrong advice is worse than none.

/// The known word that `word` most likely stands for.
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let folded = word.to_lowercase().replace('-', "_");
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for row in 1..=left.len() {
        let mut current = vec![row];
        for column in 1..=right.len() {
            let same = left[row - 1] == right[column - 1];
            let mut cost = (last[column - 1] + usize::from(!same))
                .min(last[column] + 1)
                .min(current[column - 1] + 1);
            let swapped = row > 1
                && column > 1
                && left[row - 1] == right[column - 2]
                && left[row - 2] == right[column - 1];
            if swapped {
                cost = cost.min(before_last[column - 2] + 1);
            }
            current.push(cost);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_is_suggested() {
        let known = ["min_size", "max_size", "include", "exclude", "mtime_older"];
        let table = [
            ("min_sise", Some("min_size")),
            ("minsize", Some("min_size")),
            ("min-size", Some("min_size")),
            ("Include", Some("include")),
            ("inlcude", Some("include")),
            ("mtime_odler", Some("mtime_older")),
            ("colour", None),
            ("", None),
        ];
        for (word, want) in table {
            assert_eq!(closest(word, known), want, "{word}");
        }
    }

    #[test]
    fn distances_are_counted_in_edits() {
        for (left, right, want) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(left, right), want, "{left} {right}");
            assert_eq!(distance(right, left), want, "{right} {left}");
        }
    }
}

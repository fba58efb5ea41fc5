//! What `--layers` says.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;

/// How many layers stay, or which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LayerChoice {
    Count(usize),
    /// In order, each once.
    These(Vec<usize>),
}

impl FromStr for LayerChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.parse() {
            return Ok(Self::Count(count));
        }
        let number = |text: &str| {
            text.parse::<usize>()
                .map_err(|_| format!("{text:?} is neither a number nor a range as 0-9"))
        };
        let mut layers = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last >= 1 << 16 {
                return Err(format!("{part} is no range"));
            }
            layers.extend(first..=last);
        }
        match layers.is_sorted_by(|a, b| a < b) {
            true => Ok(Self::These(layers)),
            false => Err("layers must be in order, each once".into()),
        }
    }
}

impl fmt::Display for LayerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::These(layers) => f.write_str(&list(layers)),
        }
    }
}

impl LayerChoice {
    /// Refuses what a model of so many layers has not.
    pub(super) fn check(&self, num_layers: usize) -> anyhow::Result<()> {
        match self {
            Self::Count(count) if !(2..=num_layers).contains(count) => {
                bail!("--layers: {count} is not in 2..={num_layers}, the teacher's")
            }
            Self::These(layers) if layers.last().is_some_and(|&last| last >= num_layers) => bail!(
                "--layers: {self} names more than the teacher's, which are 0-{}",
                num_layers - 1
            ),
            _ => Ok(()),
        }
    }
}

/// As `--layers` takes them; a single one as a range, for a number alone is how many there are.
fn list(layers: &[usize]) -> String {
    match layers {
        [one] => format!("{one}-{one}"),
        _ => spelt(layers),
    }
}

/// `0-9,25-29`.
pub(super) fn spelt(layers: &[usize]) -> String {
    let runs = layers.chunk_by(|a, b| a + 1 == *b);
    let runs = runs.map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        one => one.iter().map(usize::to_string).collect(),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_how_many_and_a_list_is_which() {
        let read = |text: &str| text.parse::<LayerChoice>();
        assert_eq!(read("15"), Ok(LayerChoice::Count(15)));
        let these = read("0-3,5,7-8").unwrap();
        assert_eq!(these, LayerChoice::These(vec![0, 1, 2, 3, 5, 7, 8]));
        assert_eq!(these.to_string(), "0-3,5,7-8");
        assert_eq!(read("4-4").unwrap().to_string(), "4-4");
        for bad in ["", "x", "3-1", "1,1", "5,2", "1-", "0-99999999"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_teacher_has_not_is_refused_by_the_flag() {
        let error = |text: &str| {
            let choice: LayerChoice = text.parse().unwrap();
            choice.check(30).unwrap_err().to_string()
        };
        for bad in ["31", "1", "0-30"] {
            assert!(error(bad).starts_with("--layers: "), "{bad}");
        }
        assert!("0-29".parse::<LayerChoice>().unwrap().check(30).is_ok());
    }
}

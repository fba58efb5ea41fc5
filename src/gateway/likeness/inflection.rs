//! Forms of verbs and nouns.

/// Verbs of more syllables that double their last letter.
const DOUBLED: &[&str] = &[
    "abhor", "admit", "allot", "begin", "commit", "compel", "concur", "confer", "control", "deter",
    "dispel", "emit", "equip", "expel", "forbid", "forget", "incur", "infer", "omit", "occur",
    "patrol", "permit", "prefer", "propel", "recur", "refer", "regret", "remit", "repel", "reset",
    "submit", "transfer", "transmit", "upset",
];

/// What a verb and its form in "-ing" have in common.
pub(super) fn stem(verb: &str) -> String {
    let root = match verb.strip_suffix("ing") {
        Some(root) if root.len() > 1 => root,
        _ => match verb.strip_suffix('e') {
            // "hope" keeps what tells it from "hop".
            Some(root) if root.len() > 1 && !root.ends_with('e') && !doubles(root) => {
                return root.to_owned();
            }
            _ => return verb.to_owned(),
        },
    };
    let mut back = root.chars().rev();
    let last = back
        .next()
        .filter(|c| !is_vowel(*c) && !"lsfz".contains(*c));
    if last.is_some() && back.next() == last {
        root[..root.len() - 1].to_owned()
    } else if doubles(root) {
        root.to_owned() + "e"
    } else {
        root.to_owned()
    }
}

/// A verb with or without a particle, and irregular forms behind slashes: its forms, and what tells them apart.
pub(super) fn verb(item: &str) -> Vec<(String, &'static str)> {
    let mut given = item.split('/');
    let base = given.next().unwrap_or_default();
    let (word, particle) = base.split_once('_').unwrap_or((base, ""));
    let with = |form: String| match particle {
        "" => form,
        _ => format!("{form}_{particle}"),
    };
    let doubled = match doubles(word) {
        true => word.chars().last().map(String::from).unwrap_or_default(),
        false => String::new(),
    };
    let short = word.strip_suffix('e').filter(|short| !short.ends_with('e'));
    let mut forms = vec![(base.to_owned(), "")];
    let mut pasts: Vec<String> = given.map(str::to_owned).collect();
    if pasts.is_empty() {
        pasts.push(with(match (word.strip_suffix('e'), before_y(word)) {
            (Some(_), _) => format!("{word}d"),
            (_, Some(stem)) => format!("{stem}ied"),
            _ => format!("{word}{doubled}ed"),
        }));
    }
    forms.extend(pasts.into_iter().map(|past| (past, "+ed")));
    forms.push((with(ending_in_s(word)), "+s"));
    forms.push((
        with(format!("{}{doubled}ing", short.unwrap_or(word))),
        "+ing",
    ));
    forms
}

/// A noun, and an irregular plural behind a slash: both, and what tells them apart.
pub(super) fn noun(item: &str) -> Vec<(String, &'static str)> {
    let (one, many) = match item.split_once('/') {
        Some((one, many)) => (one, many.to_owned()),
        None => (item, ending_in_s(item)),
    };
    vec![(one.to_owned(), ""), (many, "+s")]
}

fn ending_in_s(word: &str) -> String {
    match before_y(word) {
        Some(stem) => format!("{stem}ies"),
        None if word.ends_with(['s', 'x', 'z']) || word.ends_with("ch") || word.ends_with("sh") => {
            format!("{word}es")
        }
        None => format!("{word}s"),
    }
}

fn before_y(word: &str) -> Option<&str> {
    let stem = word.strip_suffix('y')?;
    (!stem.ends_with(['a', 'e', 'o', 'u'])).then_some(stem)
}

/// The word that a plural, a possessive or a verb behind "it" is made of.
pub(super) fn base(word: &str) -> String {
    if let Some(owner) = word.strip_suffix("'s") {
        return owner.to_owned();
    }
    if let Some(stem) = word.strip_suffix("ies").filter(|stem| stem.len() > 1) {
        return format!("{stem}y");
    }
    let takes_es = ["shes", "ches", "sses", "xes", "zzes", "goes", "does"];
    let num_added = match takes_es.iter().any(|end| word.ends_with(end)) {
        true => 2,
        false => usize::from(word.ends_with('s')),
    };
    word[..word.len() - num_added].to_owned()
}

/// Whether a verb doubles its last letter: "stop" and "permit", not "start", "look" or "cancel".
fn doubles(verb: &str) -> bool {
    if DOUBLED.contains(&verb) {
        return true;
    }
    let mut back = verb.chars().rev();
    let ends = back
        .next()
        .is_some_and(|c| !is_vowel(c) && !"wxy".contains(c));
    ends && back.next().is_some_and(is_vowel)
        && back.next().is_some_and(|c| !is_vowel(c))
        && verb.chars().filter(|c| is_vowel(*c)).count() == 1
}

fn is_vowel(c: char) -> bool {
    "aeiou".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_and_its_gerund_have_one_stem() {
        for pair in "change changing, send sending, run running, hope hoping, hop hopping, sell selling, see seeing, create creating, \
                     use using, pay paying"
            .split(", ")
        {
            let (verb, gerund) = pair.split_once(' ').unwrap();
            assert_eq!(stem(verb), stem(gerund), "{verb}");
        }
        assert_ne!(stem("hop"), stem("hope"));
        assert_ne!(stem("hop"), stem("hoping"));
    }

    #[test]
    fn regular_forms_are_made_and_irregular_ones_are_given() {
        let forms = |item| {
            verb(item)
                .into_iter()
                .map(|(form, _)| form)
                .collect::<Vec<_>>()
        };
        assert_eq!(forms("stop"), ["stop", "stopped", "stops", "stopping"]);
        assert_eq!(forms("try"), ["try", "tried", "tries", "trying"]);
        assert_eq!(
            forms("give_up/gave_up/given_up"),
            ["give_up", "gave_up", "given_up", "gives_up", "giving_up"]
        );
        assert_eq!(
            noun("child/children"),
            [("child".to_owned(), ""), ("children".to_owned(), "+s")]
        );
        assert_eq!(noun("country")[1].0, "countries");
        assert_eq!(
            forms("permit"),
            ["permit", "permitted", "permits", "permitting"]
        );
        let bases = ["opens", "tries", "reaches", "loses", "goes", "Peru's"].map(base);
        assert_eq!(bases, ["open", "try", "reach", "lose", "go", "Peru"]);
    }
}

//! Texts for when no model answers.

use std::collections::BTreeMap;

/// A text of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticText {
    /// An endpoint's path, or `*` for all.
    pub route: String,
    /// What is said.
    pub text: String,
    /// What is said to those who accept another language, by its tag (RFC 5646).
    pub languages: BTreeMap<String, String>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct StaticTexts(Vec<StaticText>);

impl StaticTexts {
    /// At most one for each route.
    pub fn new(texts: Vec<StaticText>) -> Self {
        Self(texts)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is said on `route` to who sent this `Accept-Language`: the route's own text before that of all, in the language that is
    /// preferred most and there.
    pub fn find(&self, route: &str, accepted: Option<&str>) -> Option<&str> {
        let of = |name: &str| self.0.iter().find(|text| text.route == name);
        let text = of(route).or_else(|| of("*"))?;
        let languages = accepted.map(preferred).unwrap_or_default();
        let known = languages.into_iter().find_map(|tag| text.in_language(tag));
        Some(known.unwrap_or(&text.text))
    }
}

impl StaticText {
    /// The text under the tag, or the longest beginning of it that is known (RFC 4647, "lookup").
    fn in_language(&self, tag: &str) -> Option<&str> {
        let mut tag = tag;
        loop {
            let known = self.languages.iter();
            if let Some((_, text)) = known
                .into_iter()
                .find(|(own, _)| own.eq_ignore_ascii_case(tag))
            {
                return Some(text);
            }
            tag = &tag[..tag.rfind('-')?];
        }
    }
}

/// The tags of an `Accept-Language` (RFC 9110), the most wanted first; those of the same weight in their order.
fn preferred(header: &str) -> Vec<&str> {
    let mut tags: Vec<(&str, f32)> = (header.split(',').take(32))
        .filter_map(|part| {
            let (tag, parameters) = part.split_once(';').unwrap_or((part, ""));
            let weight = parameters.trim().strip_prefix("q=");
            let weight = weight.map_or(Some(1.0), |q| q.trim().parse::<f32>().ok())?;
            (weight > 0.0).then(|| (tag.trim(), weight))
        })
        .collect();
    tags.sort_by(|a, b| b.1.total_cmp(&a.1));
    tags.into_iter().map(|(tag, _)| tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> StaticTexts {
        let languages = [("de", "belegt"), ("pt-BR", "ocupado")];
        let languages = languages.map(|(tag, text)| (tag.to_owned(), text.to_owned()));
        let text = |route: &str, text: &str| StaticText {
            route: route.into(),
            text: text.into(),
            languages: languages.clone().into(),
        };
        StaticTexts::new(vec![text("*", "busy"), text("/v1/messages", "later")])
    }

    #[test]
    fn a_text_is_in_the_language_that_is_preferred_most_and_there() {
        let texts = texts();
        for (accepted, text) in [
            (None, "busy"),
            (Some("fr, de;q=0.5"), "belegt"),
            (Some("de;q=0.2, pt-br"), "ocupado"),
            (Some("DE-AT"), "belegt"),
            (Some("pt"), "busy"),
            (Some("de;q=0"), "busy"),
            (Some("*"), "busy"),
            (Some(";q=x,,de;q=nonsense"), "busy"),
        ] {
            assert_eq!(
                texts.find("/v1/completions", accepted),
                Some(text),
                "{accepted:?}"
            );
        }
    }

    #[test]
    fn a_routes_own_text_comes_before_that_of_all() {
        assert_eq!(texts().find("/v1/messages", None), Some("later"));
        assert_eq!(StaticTexts::default().find("/v1/messages", None), None);
    }
}

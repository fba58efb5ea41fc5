//! The language that a text is written in.

use whatlang::{Lang, detect};

/// A language that texts can be told to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Language(Lang);

/// So much of a text tells as well as all of it, and bounds the work.
const MAX_CHARS: usize = 4096;

/// By their codes of ISO 639-1; what is told of Norwegian is Bokmål.
const CODES: &[(&str, Lang)] = &[
    ("af", Lang::Afr),
    ("ak", Lang::Aka),
    ("am", Lang::Amh),
    ("ar", Lang::Ara),
    ("az", Lang::Aze),
    ("be", Lang::Bel),
    ("bg", Lang::Bul),
    ("bn", Lang::Ben),
    ("ca", Lang::Cat),
    ("cs", Lang::Ces),
    ("cy", Lang::Cym),
    ("da", Lang::Dan),
    ("de", Lang::Deu),
    ("el", Lang::Ell),
    ("en", Lang::Eng),
    ("eo", Lang::Epo),
    ("es", Lang::Spa),
    ("et", Lang::Est),
    ("fa", Lang::Pes),
    ("fi", Lang::Fin),
    ("fr", Lang::Fra),
    ("gu", Lang::Guj),
    ("he", Lang::Heb),
    ("hi", Lang::Hin),
    ("hr", Lang::Hrv),
    ("hu", Lang::Hun),
    ("hy", Lang::Hye),
    ("id", Lang::Ind),
    ("it", Lang::Ita),
    ("ja", Lang::Jpn),
    ("jv", Lang::Jav),
    ("ka", Lang::Kat),
    ("km", Lang::Khm),
    ("kn", Lang::Kan),
    ("ko", Lang::Kor),
    ("la", Lang::Lat),
    ("lt", Lang::Lit),
    ("lv", Lang::Lav),
    ("mk", Lang::Mkd),
    ("ml", Lang::Mal),
    ("mr", Lang::Mar),
    ("my", Lang::Mya),
    ("nb", Lang::Nob),
    ("ne", Lang::Nep),
    ("nl", Lang::Nld),
    ("no", Lang::Nob),
    ("or", Lang::Ori),
    ("pa", Lang::Pan),
    ("pl", Lang::Pol),
    ("pt", Lang::Por),
    ("ro", Lang::Ron),
    ("ru", Lang::Rus),
    ("si", Lang::Sin),
    ("sk", Lang::Slk),
    ("sl", Lang::Slv),
    ("sn", Lang::Sna),
    ("sr", Lang::Srp),
    ("sv", Lang::Swe),
    ("ta", Lang::Tam),
    ("te", Lang::Tel),
    ("th", Lang::Tha),
    ("tk", Lang::Tuk),
    ("tl", Lang::Tgl),
    ("tr", Lang::Tur),
    ("uk", Lang::Ukr),
    ("ur", Lang::Urd),
    ("uz", Lang::Uzb),
    ("vi", Lang::Vie),
    ("yi", Lang::Yid),
    ("zh", Lang::Cmn),
    ("zu", Lang::Zul),
];

impl Language {
    /// The one of this code; `None` where texts are not told to be in it.
    pub fn of_code(code: &str) -> Option<Self> {
        let found = CODES.iter().find(|(known, _)| *known == code);
        found.map(|(_, lang)| Self(*lang))
    }

    /// All codes, in order.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        CODES.iter().map(|(code, _)| *code)
    }

    /// The one that `text` is written in, as far as its beginning tells; `None` where that is not certain, as of a few words.
    pub fn of_text(text: &str) -> Option<Self> {
        let end = text.char_indices().nth(MAX_CHARS);
        let beginning = &text[..end.map_or(text.len(), |(i, _)| i)];
        let info = detect(beginning).filter(|info| info.is_reliable());
        info.map(|info| Self(info.lang()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_that_is_told_has_a_code_and_codes_are_in_order() {
        for lang in Lang::all() {
            assert!(CODES.iter().any(|(_, own)| own == lang), "{lang:?}");
        }
        assert!(CODES.is_sorted_by(|(a, _), (b, _)| a < b));
        assert_eq!(Language::of_code("xx"), None);
    }

    #[test]
    fn a_text_is_told_where_that_is_certain() {
        for (code, text) in [
            (
                "de",
                "Könnten Sie mir bitte erklären, warum der Himmel am Abend rot wird?",
            ),
            (
                "fr",
                "Pourriez-vous m'expliquer pourquoi le ciel devient rouge le soir ? Il est pourtant bleu pendant toute la journée.",
            ),
            (
                "en",
                "Could you please explain to me why the sky turns red in the evening?",
            ),
            ("ja", "夕方になると空が赤くなるのはなぜですか。"),
        ] {
            assert_eq!(
                Language::of_text(text),
                Language::of_code(code),
                "{code}: {:?}",
                detect(text)
            );
        }
        for text in ["", "ok", "42", "🙂🙂", "\0\u{ffff}"] {
            assert_eq!(Language::of_text(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_the_beginning_of_a_text_is_read() {
        let beginning = "Warum wird der Himmel am Abend eigentlich immer so rot? ".repeat(80);
        let text = beginning + &"The sky is red, is it not? ".repeat(10_000);
        assert_eq!(Language::of_text(&text), Language::of_code("de"));
    }
}

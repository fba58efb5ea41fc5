//! What is known of single words.

use std::ops::BitOr;
use std::sync::LazyLock;

use super::map::Map;

/// Classes that a word is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Class(u16);

impl Class {
    /// Without content of its own.
    pub(super) const FUNCTION: Self = Self(1);
    pub(super) const NEGATION: Self = Self(1 << 1);
    pub(super) const SCOPE: Self = Self(1 << 2);
    pub(super) const MODAL: Self = Self(1 << 3);
    pub(super) const PERSON: Self = Self(1 << 4);
    pub(super) const DATE: Self = Self(1 << 5);
    /// Begins a phrase that may stand before a question or behind it.
    pub(super) const OPENER: Self = Self(1 << 6);
    /// Begins a question or a request.
    pub(super) const STARTER: Self = Self(1 << 7);
    /// Speaks of words rather than of things.
    pub(super) const META: Self = Self(1 << 8);
    /// Means something else with a capital.
    pub(super) const CASED: Self = Self(1 << 9);
    /// As the one before, of capitals throughout.
    pub(super) const ACRONYM: Self = Self(1 << 10);
    /// Weighs two things against each other, or joins them: what a phrase belongs to depends on where it stands.
    pub(super) const JOINS: Self = Self(1 << 11);
    /// Begins what somebody tells.
    pub(super) const TELLS: Self = Self(1 << 12);
    /// May begin a number.
    pub(super) const COUNTS: Self = Self(1 << 13);

    /// Of a word in lower case.
    pub(super) fn of(word: &str) -> Self {
        CLASSES.get(word).copied().unwrap_or_default()
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Class {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

static CLASSES: LazyLock<Map<&'static str, Class>> = LazyLock::new(|| {
    let mut classes: Map<_, Class> = Map::default();
    for (class, words) in TABLE {
        for word in words.split_whitespace() {
            let known = classes.entry(word).or_default();
            *known = *known | *class;
        }
    }
    classes
});

const TABLE: &[(Class, &str)] = &[
    (
        Class::FUNCTION,
        "a an the this that these those i you he she it we they me him her us them my your his its our their mine yours ours theirs
         myself yourself who whom whose what which when where why how is are was were am be been being do does did done doing have has
         had having can could may might must shall should will would ought need to of in on at by for from with without into onto over
         under above below between among through during before after since until till about against across along around behind beside
         beyond near off out up down as than if whether while because so that though although unless or and but nor not no yes there
         here then too very just also only even still yet already again ever never any some all both each every either neither much
         many more most less least few fewer such same other another own please tell let get got it's per via within",
    ),
    (
        Class::NEGATION,
        "not no never none nobody nothing nowhere neither nor without except excluding exclude excludes excluded besides hardly barely
         scarcely rarely seldom lack lacks lacking absent non nil fail fails failed refuse refuses refused refuse avoid avoids avoiding
         unless instead cannot few little opposite contrary false wrong wrongly incorrect incorrectly",
    ),
    (
        Class::SCOPE,
        "all some any only every each both either most more less least first last next previous final second third fourth fifth min max
         minimum maximum minimal maximal entire whole half part partial partly fully completely entirely always sometimes often usually
         ever once best worst largest smallest biggest longest shortest highest lowest fastest slowest oldest newest latest earliest
         cheapest greatest fewest single double multiple several various many much few fewer couple alone just even also too mostly mainly
         at exactly about approximately roughly almost nearly up total average mean median per same different other another distinct
         unique random any anyone everyone someone everything something anything everybody somebody anybody",
    ),
    (
        Class::MODAL,
        "can could may might must shall should will would ought need needs needed have has had allowed permitted able required possible
         necessary mandatory optional supposed want wants likely certainly probably possibly legal illegal",
    ),
    (
        Class::PERSON,
        "i me my mine myself you your yours yourself he him his she her hers it its we us our ours they them their theirs one someone
         somebody anyone anybody everyone everybody nobody child children kid kids adult adults baby babies man men woman women boy boys
         girl girls husband wife son daughter mother father mum mom dad parent parents brother sister friend friends customer customers
         supplier suppliers employee employees employer employers landlord landlords tenant tenants student students teacher teachers
         guest guests owner owners user users admin admins dog dogs cat cats",
    ),
    (
        Class::DATE,
        "monday tuesday wednesday thursday friday saturday sunday mondays tuesdays wednesdays thursdays fridays saturdays sundays weekday
         weekdays weekend weekends january february april june july august september october november december spring summer
         autumn winter today yesterday tomorrow tonight morning afternoon evening night noon midnight am pm o'clock year years month months
         week weeks day days daily weekly monthly yearly annually annual hourly now currently current ago later earlier century decade
         christmas easter easter's holiday holidays quarter",
    ),
    (
        Class::OPENER,
        "in on at for from to into onto with without by during before after since until till within under over above below between among
         per via through throughout across outside inside near behind beside besides beyond off against despite if when while because
         once unless although though every each outdoors indoors online abroad instead so given using according as",
    ),
    (
        Class::STARTER,
        "what which who whom whose when where why how is are was were am do does did can could may might must should shall will would have
         has had write give tell explain translate convert express name list show describe compose find compute calculate define create
         make generate summarise summarize compare suggest recommend provide draft implement build add remove i'd",
    ),
    (
        Class::META,
        "mean means meant meaning meanings word words spell spelled spelt spelling define definition definitions translate translation
         translated translates synonym synonyms antonym antonyms pronounce pronounced pronunciation plural singular tense rhyme rhymes
         rhyming noun nouns verb verbs adjective adjectives adverb adverbs grammar grammatical grammatically etymology syllable syllables
         letters phrase phrases idiom idioms call called say said saying vs versus differ differs difference differences
         distinguish distinguishes distinguished term terms opposite quote sentence",
    ),
    (
        Class::CASED,
        "polish turkey turkish march may august china japan chile jordan georgia will mark bill rust swift go ruby java python crystal julia
         dart basic scheme elm pandas flask express react spring rails apple amazon shell target windows word excel access office teams
         chrome edge oracle spark flink hive pig kafka storm nice reading bath job mobile lent mercury earth mars saturn orange blackberry
         meta alphabet gap visa discover subway uber lyft slack zoom notion signal telegram safari opera firefox brave docker helm nomad
         vault consul puppet chef salt ant maven gradle make rake perl tcl lisp clojure groovy kotlin scala go cobra viper gin echo fiber
         rocket actix tokio angular ember backbone svelte vue nest express pearl rose grace hope faith joy frank jack rob bob pat sue
         drew ray rich max miles jean guy art gene dean earl duke prince king bishop cook baker smith young brown green white black gray
         stone wood hill rivers park lane ford dodge focus golf polo jaguar puma camel sie ihr ihre ihren ihrem ihrer ihnen weg essen
         congress democrat democratic republican conservative liberal labour catholic orthodox god lord hamburg frankfurter limerick
         ottoman afghan cologne champagne bordeaux cheddar tangier trinity titanic",
    ),
    (Class::ACRONYM, "us it who aids sad cat pin ram ai led dos bit sim mac"),
    (
        Class::JOINS,
        "than or and versus vs nor but not never no only rather instead unless as like more less also too even just both either
         neither except without if because that which who whose whom what when while where how why",
    ),
    (Class::TELLS, "my the i our we a an this"),
    (
        Class::COUNTS,
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
         twenty thirty forty fifty sixty seventy eighty ninety a an twice thrice",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_in_all_its_classes_and_an_unknown_one_in_none() {
        let only = Class::of("only");
        assert!(only.has(Class::SCOPE) && only.has(Class::FUNCTION) && !only.has(Class::DATE));
        assert_eq!(Class::of("xylophone"), Class::default());
    }
}

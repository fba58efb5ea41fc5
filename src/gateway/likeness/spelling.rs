//! Words that are written in several ways, in one.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::map::{self, Map};

/// Beginnings of words as in Britain, and as in America.
const BEGINNINGS: &str = "
    colour: color, flavour: flavor, favour: favor, honour: honor, labour: labor, neighbour: neighbor, humour: humor,
    behaviour: behavior, harbour: harbor, rumour: rumor, vapour: vapor, armour: armor, odour: odor, splendour: splendor, tumour: tumor,
    vigour: vigor, endeavour: endeavor, parlour: parlor, rigour: rigor, saviour: savior, centre: center, centring: centering,
    theatre: theater, fibre: fiber, litre: liter, calibre: caliber, sabre: saber, lustre: luster, spectre: specter, catalogue: catalog,
    dialogue: dialog, analogue: analog, monologue: monolog, defence: defense, offence: offense, licence: license, pretence: pretense,
    travell: travel, cancell: cancel, labell: label, modell: model, signall: signal, fuell: fuel, channell: channel, levell: level,
    counsell: counsel, dialling: dialing, dialled: dialed, jewell: jewel, marvell: marvel, quarrell: quarrel, tunnell: tunnel,
    enrolment: enrollment, fulfilment: fulfillment, instalment: installment, skilful: skillful, wilful: willful, analyse: analyze,
    analysing: analyzing, paralyse: paralyze, catalyse: catalyze, aluminium: aluminum, grey: gray, tyre: tire, kerb: curb,
    pyjamas: pajamas, mould: mold, moustache: mustache, plough: plow, judgement: judgment, acknowledgement: acknowledgment,
    ageing: aging, jewellery: jewelry, sceptic: skeptic, manoeuvre: maneuver, anaesthe: anesthe, anaemi: anemi, diarrhoea: diarrhea,
    oestrogen: estrogen, foetus: fetus, leukaemia: leukemia, paediatric: pediatric, orthopaedic: orthopedic, gynaecolog: gynecolog,
    haemo: hemo, caesarean: cesarean, encyclopaedia: encyclopedia, archaeolog: archeolog, doughnut: donut, whilst: while,
    amongst: among, towards: toward, afterwards: afterward, learnt: learned, burnt: burned, dreamt: dreamed, spelt: spelled, cosy: cozy,
    sulphur: sulfur, artefact: artifact, yoghurt: yogurt, whisky: whiskey, omelette: omelet, adviser: advisor
";

/// What is true of the beginnings of words is not of these.
const KEPT: &[&str] = &["cancellation", "cancellations"];

/// Words that are also written as two.
const TWO: &str = "
    e mail: email, e mails: emails, wi fi: wifi, web site: website, web sites: websites, web page: webpage, post code: postcode,
    post codes: postcodes, zip code: zipcode, file name: filename, file names: filenames, data base: database, data bases: databases,
    data set: dataset, data sets: datasets, time zone: timezone, time zones: timezones, user name: username, user names: usernames,
    t shirt: tshirt, t shirts: tshirts, tee shirt: tshirt, smart phone: smartphone, smart watch: smartwatch, key board: keyboard,
    pop up: popup, drop down: dropdown, screen shot: screenshot, screen shots: screenshots, white space: whitespace,
    name space: namespace, sub string: substring, sub folder: subfolder, camp site: campsite, camp sites: campsites, pay pal: paypal,
    face book: facebook, you tube: youtube, java script: javascript, type script: typescript, my sql: mysql, git hub: github,
    back end: backend, front end: frontend, run time: runtime, life time: lifetime, week end: weekend, life span: lifespan,
    bath room: bathroom, bed room: bedroom, car park: carpark, multi thread: multithread, hard boiled: hardboiled, open air: openair,
    pre order: preorder, check list: checklist, test case: testcase, code base: codebase, work flow: workflow,
    boiler plate: boilerplate, meta data: metadata
";

/// By their first three letters.
static BY_BEGINNING: LazyLock<Map<&'static str, Vec<(&'static str, &'static str)>>> =
    LazyLock::new(|| {
        let mut rows: Map<_, Vec<_>> = Map::default();
        for (british, american) in map::pairs(BEGINNINGS) {
            rows.entry(&british[..3])
                .or_default()
                .push((british, american));
        }
        rows
    });
static BY_FIRST: LazyLock<Map<&'static str, Vec<(&'static str, &'static str)>>> =
    LazyLock::new(|| {
        let mut rows: Map<_, Vec<_>> = Map::default();
        for (two, one) in map::pairs(TWO) {
            let (first, second) = two.split_once(' ').unwrap_or((two, ""));
            rows.entry(first).or_default().push((second, one));
        }
        rows
    });

/// A word in the spelling that stands for all.
pub(super) fn usual(word: &str) -> Option<Cow<'static, str>> {
    if word.len() < 4 || KEPT.contains(&word) {
        return None;
    }
    let known = BY_BEGINNING.get(word.get(..3)?);
    let found = known.into_iter().flatten().find_map(|(british, american)| {
        let rest = word.strip_prefix(british)?;
        // Short ones are whole words, or their plurals.
        let is_whole = british.len() > 4 || matches!(rest, "" | "s" | "d");
        is_whole.then(|| Cow::Owned(format!("{american}{rest}")))
    });
    found.or_else(|| {
        // "organise", and all that is made of it; not "prise", which is no "prize".
        if !word.contains("is") {
            return None;
        }
        let endings = [
            "ise", "ised", "ises", "ising", "iser", "isers", "isation", "isations",
        ];
        let ending = endings.iter().find(|ending| word.ends_with(*ending))?;
        let stem = &word[..word.len() - ending.len()];
        (stem.len() > 3).then(|| format!("{stem}iz{}", &ending[2..]).into())
    })
}

/// What two words are as one.
pub(super) fn as_one(first: &str, second: &str) -> Option<&'static str> {
    let found = BY_FIRST.get(first)?.iter().find(|(b, _)| *b == second);
    found.map(|(_, one)| *one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_become_one() {
        for (a, b) in [
            ("colours", "colors"),
            ("organisation", "organization"),
            ("theatre", "theater"),
            ("analysing", "analyzing"),
        ] {
            assert_eq!(usual(a).as_deref(), Some(b));
        }
        assert_eq!(as_one("e", "mail"), Some("email"));
    }

    #[test]
    fn words_that_only_look_alike_stay() {
        for word in ["rise", "prise", "discount", "discover", "tyrant", "program"] {
            assert_eq!(usual(word), None, "{word}");
        }
    }
}

//! Units and currencies, each by one name.

use std::sync::LazyLock;

use super::map::{self, Map};

/// Marks of currencies.
pub(super) const CURRENCIES: [char; 6] = ['$', '€', '£', '¥', '₹', '₩'];

/// Units behind a number; the first is the name of all.
const COUNTED: &str = "
    %=percent pct, $=dollar dollars, €=euro euros eur, £=gbp, ¥, ₹=inr rupee rupees, ₩, usd, yen=jpy, pound=pounds, lb=lbs,
    oz=ounce ounces, stone=stones, g=gram grams gramme grammes gr, mg=milligram milligrams, t=tonne tonnes, ton=tons,
    m=meter meters metre metres, dm=decimeter decimeters, mi=mile miles, ft=foot feet, inch=inches, yd=yard yards,
    nm=nanometer nanometers, l=liter liters litre litres, gal=gallon gallons, pint=pints, cup=cups, tbsp=tablespoon tablespoons,
    tsp=teaspoon teaspoons, s=sec secs second seconds, min=mins minute minutes, h=hr hrs hour hours, day=days, week=weeks wk wks,
    month=months, year=years yr yrs, decade=decades, century=centuries, ms=millisecond milliseconds msec, microsecond=microseconds,
    ns=nanosecond nanoseconds, w=watt watts, v=volt volts, amp=amps ampere amperes, hz=hertz, px=pixel pixels, byte=bytes, bit=bits,
    cal=calorie calories, kcal=kilocalorie kilocalories, degree=degrees deg °, mph, kph=kmh, am=a.m, pm=p.m, acre=acres,
    hectare=hectares ha, knot=knots, time=times, °c=c, °f=f, °k=k
";

/// Units with names that say nothing else, also where no number stands before them.
const NAMED: &str = "
    kg=kilogram kilograms kilogramme kilogrammes kilo kilos kgs, km=kilometer kilometers kilometre kilometres kms,
    cm=centimeter centimeters centimetre centimetres, mm=millimeter millimeters millimetre millimetres,
    ml=milliliter milliliters millilitre millilitres, cl=centiliter centiliters centilitre centilitres, kwh=kilowatthour kilowatthours,
    kw=kilowatt kilowatts, khz=kilohertz, mhz=megahertz, ghz=gigahertz, kb=kilobyte kilobytes KB kB, mb=megabyte megabytes MB,
    gb=gigabyte gigabytes GB, tb=terabyte terabytes TB, pb=petabyte petabytes PB, Mb=megabit megabits, Gb=gigabit gigabits,
    Kb=kilobit kilobits, kib=kibibyte kibibytes, mib=mebibyte mebibytes, gib=gibibyte gibibytes, mW=milliwatt milliwatts,
    MW=megawatt megawatts, mV=millivolt millivolts, kV=kilovolt kilovolts, mA=milliampere milliamperes milliamp milliamps,
    °c=celsius centigrade °C, °f=fahrenheit °F, °k=kelvin kelvins
";

/// Units whose letters mean one thing as capitals and another as small ones.
pub(super) fn is_cased(unit: &str) -> bool {
    let lower = unit.to_ascii_lowercase();
    ["kb", "mb", "gb", "tb", "pb", "mw", "mv", "kv", "ma"].contains(&lower.as_str())
}

/// The name of a unit, which stands behind a number if it `is_counted`; none of a word that may be something else.
pub(super) fn name(word: &str, is_counted: bool) -> Option<&'static str> {
    let found = NAMES
        .get(word)
        .filter(|(_, is_named)| is_counted || *is_named);
    found.map(|(name, _)| *name)
}

/// Each word with its name, and whether that is its own also without a number.
static NAMES: LazyLock<Map<&'static str, (&'static str, bool)>> = LazyLock::new(|| {
    let mut names = Map::default();
    for (table, is_named) in [(COUNTED, false), (NAMED, true)] {
        for row in map::rows(table) {
            let (name, others) = row.split_once('=').unwrap_or((row, ""));
            for word in others
                .split(' ')
                .chain([name])
                .filter(|word| !word.is_empty())
            {
                names.insert(word, (name, is_named));
            }
        }
    }
    names
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_units_behind_numbers_alone() {
        assert_eq!(name("m", true), name("metres", true));
        assert_eq!(name("m", false), None);
        assert_eq!(name("kilometres", false), Some("km"));
    }

    #[test]
    fn units_that_sound_alike_are_different() {
        for (a, b) in [
            ("Mb", "MB"),
            ("mW", "MW"),
            ("lb", "pound"),
            ("ton", "tonne"),
            ("°c", "fahrenheit"),
            ("cal", "kcal"),
        ] {
            assert_ne!(name(a, true), name(b, true), "{a} {b}");
        }
    }
}

//! Texts of a payload: checked once at the door, in three strictnesses.
//!
//! [`Text`] is what people write (prose or one line), [`Name`] is what is compared and clicked
//! (identifiers, names of files and persons). Invariant: neither has control characters, bidi
//! overrides or line separators, so one text cannot be shown as another. Whoever prints one still
//! escapes it (`untrusted`).

use std::fmt;

/// A text for people, without hidden control characters, within its length.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(Box<str>);

/// A name or identifier: one line, no invisible character at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// A language tag in the shape of BCP 47: `en`, `sr-Latn-RS`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language(Box<str>);

/// A country by ISO 3166-1 alpha-2, upper case; `XA` to `XZ` in demos.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

/// A day of the calendar without a time zone: `2026-08-19`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(Box<str>);

impl Date {
    /// A day that there is (ISO 8601, extended format).
    pub fn parse(text: &str) -> Result<Self, String> {
        let midnight = format!("{text}T00:00:00Z").parse::<crate::timestamp::Timestamp>();
        match midnight {
            Ok(_) if text.len() == "2026-08-19".len() => Ok(Self(text.into())),
            _ => Err("not a day: write `2026-08-19`".to_owned()),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text {
    /// Several lines; line feeds and tabs are the only control characters.
    pub fn prose(text: &str, chars_max: usize) -> Result<Self, String> {
        check(text, chars_max, |c| matches!(c, '\n' | '\t'), is_override)?;
        Ok(Self(text.into()))
    }

    /// One line.
    pub fn line(text: &str, chars_max: usize) -> Result<Self, String> {
        check(text, chars_max, |_| false, is_override)?;
        Ok(Self(text.into()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Name {
    /// One line in which nothing is invisible.
    pub fn parse(text: &str, chars_max: usize) -> Result<Self, String> {
        check(text, chars_max, |_| false, is_invisible)?;
        if text.trim() != text {
            return Err("begins or ends with a blank: remove it".to_owned());
        }
        Ok(Self(text.into()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Language {
    /// Checks the shape only: which languages there are is not ours to decide.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('-');
        let first = parts.next().unwrap_or_default();
        let well_formed = text.len() <= LANGUAGE_BYTES_MAX
            && (2..=8).contains(&first.len())
            && first.bytes().all(|b| b.is_ascii_alphabetic())
            && parts.all(|p| {
                (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric())
            });
        if well_formed {
            Ok(Self(text.into()))
        } else {
            Err("not a language tag of BCP 47: write `en` or `pt-BR`".to_owned())
        }
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Country {
    /// Takes the codes that ISO assigned and those of demos.
    pub fn parse(text: &str) -> Result<Self, String> {
        let code: [u8; 2] = text.as_bytes().try_into().map_err(|_| COUNTRY_HINT.to_owned())?;
        if !code.iter().all(u8::is_ascii_uppercase) {
            return Err(COUNTRY_HINT.to_owned());
        }
        // XA to XZ are user-assigned: demo units, and Kosovo's XK.
        let assigned = text.starts_with('X') || COUNTRIES.split(' ').any(|c| c == text);
        match (assigned, text) {
            (true, _) => Ok(Self(code)),
            (false, "UK") => Err("not a country of ISO 3166-1: write `GB`".to_owned()),
            (false, _) => Err(COUNTRY_HINT.to_owned()),
        }
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

macro_rules! display {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}

display!(Text, Name, Language, Country, Date);

/// A telephone number that can be dialled from abroad: `+1-202-555-0143`.
pub fn check_phone(text: &str) -> Result<(), String> {
    let number = text.split(" ext").next().unwrap_or_default();
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let shape = text.starts_with('+')
        && number.chars().skip(1).all(|c| c.is_ascii_digit() || " -()./".contains(c));
    // E.164: at most fifteen digits, country code included.
    if shape && (7..=15).contains(&digits) {
        Ok(())
    } else {
        Err("not an international telephone number: write `+1-202-555-0143`".to_owned())
    }
}

fn check(
    text: &str,
    chars_max: usize,
    allowed: fn(char) -> bool,
    refused: fn(char) -> bool,
) -> Result<(), String> {
    let chars = text.chars().take(chars_max.saturating_add(1)).count();
    if chars > chars_max {
        return Err(format!("longer than {chars_max} characters: shorten it"));
    }
    match text.chars().find(|c| (c.is_control() && !allowed(*c)) || refused(*c)) {
        None => Ok(()),
        Some('\n') => Err("has a line break: write one line".to_owned()),
        Some(c) if c.is_control() => {
            Err(format!("has the control character U+{:04X}: remove it", u32::from(c)))
        }
        Some(c) => Err(format!("has the invisible character U+{:04X}: remove it", u32::from(c))),
    }
}

/// Characters that make a text read in another order or line than it is stored. The joiners and
/// marks that Persian, Hindi and Arabic need are not among them.
fn is_override(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// Characters that leave no mark of their own on the screen: with one, two different names look the
/// same.
pub(crate) fn is_invisible(c: char) -> bool {
    is_override(c)
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}'
            | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// RFC 5646, section 4.4.1: 35 characters are enough for every tag without private use.
const LANGUAGE_BYTES_MAX: usize = 35;

const COUNTRY_HINT: &str = "not a country of ISO 3166-1: write two upper-case letters, as `FR`";

/// ISO 3166-1 alpha-2, officially assigned.
const COUNTRIES: &str = "\
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS \
BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE \
EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM \
HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC \
LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA \
NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW \
SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO \
TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// Living scripts pass, also with the joiners that they need; what reorders or hides does not.
    #[test]
    fn scripts_pass_and_tricks_do_not() {
        for good in ["تنبيه عاجل", "می\u{200c}خواهم", "क्\u{200d}ष", "警報", "naïve\tx\ny"]
        {
            assert!(Text::prose(good, 100).is_ok(), "{good}");
        }
        for bad in
            ["a\u{202e}b", "a\u{2066}b", "a\rb", "a\0b", "a\u{1b}[31m", "a\u{2028}b", "\u{9b}"]
        {
            assert!(Text::prose(bad, 100).is_err(), "{bad:?}");
            assert!(Text::line(bad, 100).is_err(), "{bad:?}");
            assert!(Name::parse(bad, 100).is_err(), "{bad:?}");
        }
        for bad in ["a\u{200b}b", "a\u{200d}b", "\u{feff}a", "a\u{e0041}", "a ", "\u{ad}x"] {
            assert!(Name::parse(bad, 100).is_err(), "{bad:?}");
        }
        assert!(Text::line("a\nb", 100).is_err());
    }

    /// Lengths are in characters, not bytes.
    #[test]
    fn lengths_are_characters() {
        assert!(Text::line(&"é".repeat(10), 10).is_ok());
        assert!(Text::line(&"é".repeat(11), 10).unwrap_err().contains("10 characters"));
    }

    #[test]
    fn countries_and_languages() {
        assert_eq!(COUNTRIES.split(' ').count(), 249);
        for good in ["FR", "GB", "XA", "XK"] {
            assert_eq!(Country::parse(good).unwrap().as_str(), good);
        }
        for bad in ["UK", "fr", "FRA", "", "ZZ", "é"] {
            assert!(Country::parse(bad).is_err(), "{bad}");
        }
        for good in ["en", "pt-BR", "sr-Latn-RS", "de-1996", "yue"] {
            assert!(Language::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "e", "english language", "en_GB", "en-", "-en", "en-toolongsubtag", "é1"] {
            assert!(Language::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn phones_can_be_dialled_from_abroad() {
        for good in ["+1-202-555-0143", "+441632960961", "+49 (30) 555 0143 ext. 12"] {
            assert!(check_phone(good).is_ok(), "{good}");
        }
        for bad in ["", "110", "0202 5550143", "+12", "+1-202-CALL-NOW", "+1234567890123456"] {
            assert!(check_phone(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// A name that is taken has nothing that a terminal would obey or hide.
        #[test]
        fn names_are_visible(text in any::<String>()) {
            if let Ok(name) = Name::parse(&text, 500) {
                prop_assert!(!name.as_str().chars().any(|c| c.is_control() || is_invisible(c)));
            }
        }
    }
}

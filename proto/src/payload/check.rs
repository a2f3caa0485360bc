//! The checks that all fields are made of. Each takes a raw field, reports what is wrong, and
//! returns the checked value or a placeholder that `Collector::result` throws away.

use bytes::Bytes;

use crate::{
    ids::{Digest, MessageId, Uuid},
    limits,
    timestamp::Timestamp,
    v1,
};

use super::{
    fault::{At, Collector},
    names::Named,
    text::{Country, Date, Language, Name, Text, check_phone},
};

impl Collector {
    /// A mandatory text of several lines; `what` completes "missing: state …".
    pub fn prose(&mut self, at: At<'_>, text: &str, what: &str) -> Text {
        self.text(at, text, what, |text| Text::prose(text, limits::TEXT_CHARS_MAX))
    }

    /// An optional text of several lines.
    pub fn optional_prose(&mut self, at: At<'_>, text: &str) -> Option<Text> {
        (!text.is_empty()).then(|| self.prose(at, text, "it or leave it out"))
    }

    /// A mandatory text of one line.
    pub fn line(&mut self, at: At<'_>, text: &str, what: &str) -> Text {
        self.text(at, text, what, |text| Text::line(text, limits::LINE_CHARS_MAX))
    }

    /// An optional text of one line.
    pub fn optional_line(&mut self, at: At<'_>, text: &str) -> Option<Text> {
        (!text.is_empty()).then(|| self.line(at, text, "it or leave it out"))
    }

    /// Any mandatory text: blank is missing.
    pub fn text<T: Default>(
        &mut self,
        at: At<'_>,
        text: &str,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        if text.trim().is_empty() {
            self.fault(at, format!("missing: state {what}"));
            return T::default();
        }
        parse(text).unwrap_or_else(|why| {
            self.fault(at, why);
            T::default()
        })
    }

    /// A mandatory name or identifier.
    pub fn name(&mut self, at: At<'_>, text: &str, what: &str) -> Name {
        self.text(at, text, what, |text| Name::parse(text, limits::LINE_CHARS_MAX))
    }

    /// An optional name or identifier.
    pub fn optional_name(&mut self, at: At<'_>, text: &str) -> Option<Name> {
        (!text.is_empty()).then(|| self.name(at, text, "it or leave it out"))
    }

    /// A mandatory telephone number.
    pub fn phone(&mut self, at: At<'_>, text: &str) -> Name {
        self.text(at, text, "a telephone number that is answered", |text| {
            check_phone(text)?;
            Name::parse(text, limits::LINE_CHARS_MAX)
        })
    }

    /// Ids of items, indicators or conditions, none twice.
    pub fn ids(&mut self, at: At<'_>, raw: &[String]) -> Vec<Name> {
        let ids = self.list(at, raw, |c, at, id| c.name(at, id, "an id"));
        for (i, id) in raw.iter().enumerate().take(ids.len()) {
            if raw.iter().take(i).any(|earlier| earlier == id) {
                self.fault(at.index(i), "stated twice: remove one");
            }
        }
        ids
    }

    /// The id of an item of a request.
    pub fn item_id(&mut self, at: At<'_>, raw: &str) -> Name {
        if raw.len() > limits::ITEM_ID_BYTES_MAX {
            self.fault(at, format!("over {} bytes: shorten it", limits::ITEM_ID_BYTES_MAX));
            return Name::default();
        }
        self.name(at, raw, "the item's id in the request")
    }

    /// Ids of items, none twice.
    pub fn item_ids(&mut self, at: At<'_>, raw: &[String]) -> Vec<Name> {
        for (i, id) in raw.iter().enumerate().take(limits::ITEMS_MAX) {
            if id.len() > limits::ITEM_ID_BYTES_MAX {
                self.item_id(at.index(i), id);
            }
        }
        if self.has_too_many_items(at, raw) { Vec::new() } else { self.ids(at, raw) }
    }

    /// Reports more items than a request may have.
    pub fn has_too_many_items<T>(&mut self, at: At<'_>, items: &[T]) -> bool {
        let (got, max) = (items.len(), limits::ITEMS_MAX);
        if got > max {
            self.fault(at, format!("{got} items: {max} at most, send several requests"));
        }
        got > max
    }

    /// A mandatory day.
    pub fn date(&mut self, at: At<'_>, text: &str, what: &str) -> Date {
        self.text(at, text, what, Date::parse)
    }

    /// A mandatory language.
    pub fn language(&mut self, at: At<'_>, text: &str, what: &str) -> Language {
        self.text(at, text, what, Language::parse)
    }

    /// Countries; each must be one.
    pub fn countries(&mut self, at: At<'_>, codes: &[String]) -> Vec<Country> {
        self.list(at, codes, |c, at, code| c.text(at, code, "a country, as `FR`", Country::parse))
    }

    /// Elements of a list, each checked at its own place; over the limit none is looked at.
    pub fn list<T, U>(
        &mut self,
        at: At<'_>,
        elements: &[T],
        check: impl Fn(&mut Self, At<'_>, &T) -> U,
    ) -> Vec<U> {
        if elements.len() > limits::LIST_MAX {
            let (got, max) = (elements.len(), limits::LIST_MAX);
            self.fault(at, format!("{got} elements: {max} at most, split the message"));
            return Vec::new();
        }
        elements.iter().enumerate().map(|(i, e)| check(self, at.index(i), e)).collect()
    }

    /// Reports a list that is empty.
    pub fn not_empty<T>(&mut self, at: At<'_>, elements: &[T], what: &str) {
        if elements.is_empty() {
            self.fault(at, format!("missing: state {what}"));
        }
    }

    /// A mandatory value of an enumeration.
    pub fn known<E: Named>(&mut self, at: At<'_>, number: i32) -> E {
        if number == 0 {
            self.fault(at, format!("missing: state one of {}", E::names()));
            return E::default();
        }
        self.optional_known(at, number).unwrap_or_default()
    }

    /// An optional value of an enumeration; a number that this version does not know is a fault,
    /// not "none".
    pub fn optional_known<E: Named>(&mut self, at: At<'_>, number: i32) -> Option<E> {
        let known = E::known(number);
        if known.is_none() && number != 0 {
            self.fault(at, format!("unknown value {number}: expected one of {}", E::names()));
        }
        known
    }

    /// Values of an enumeration, none twice.
    pub fn knowns<E: Named>(&mut self, at: At<'_>, numbers: &[i32]) -> Vec<E> {
        let values = self.list(at, numbers, |c, at, number| c.known::<E>(at, *number));
        for (i, number) in numbers.iter().enumerate().take(values.len()) {
            if numbers.iter().take(i).any(|earlier| earlier == number) {
                self.fault(at.index(i), "stated twice: remove one");
            }
        }
        values
    }

    /// A mandatory yes or no.
    pub fn answer(&mut self, at: At<'_>, number: i32) -> bool {
        if number == 0 {
            self.fault(at, "missing: state true or false, the absence of an answer is neither");
        }
        self.optional_answer(at, number).unwrap_or_default()
    }

    /// An optional yes or no.
    pub fn optional_answer(&mut self, at: At<'_>, number: i32) -> Option<bool> {
        self.optional_known::<v1::Answer>(at, number).map(|answer| answer == v1::Answer::Yes)
    }

    /// A mandatory instant.
    pub fn time(&mut self, at: At<'_>, millis: u64, what: &str) -> Timestamp {
        if millis == 0 {
            self.fault(at, format!("missing: state {what}"));
        }
        self.optional_time(at, millis).unwrap_or_default()
    }

    /// An optional instant.
    pub fn optional_time(&mut self, at: At<'_>, millis: u64) -> Option<Timestamp> {
        let time = Timestamp::from_wire(millis);
        if time.is_none() && millis != 0 {
            self.fault(at, "later than the year 9999: correct it");
        }
        if (1..YEAR_2000).contains(&millis) {
            self.fault(at, "before the year 2000: write milliseconds since 1970, not seconds");
        }
        time
    }

    /// Reports a range whose end lies before its begin; `at` is the end's place. Unstated ends are
    /// open.
    pub fn ordered(&mut self, at: At<'_>, from: u64, until: u64, begin: &str) {
        if from != 0 && until != 0 && until < from {
            self.fault(at, format!("before {begin}: exchange or correct the two times"));
        }
    }

    /// A mandatory UUID.
    pub fn uuid(&mut self, at: At<'_>, bytes: &Bytes) -> Uuid {
        Uuid::from_bytes(bytes).unwrap_or_else(|_| {
            self.fault(at, "missing or not the 16 bytes of a UUID");
            Uuid::random([0; 16])
        })
    }

    /// A mandatory SHA-256 digest.
    pub fn digest(&mut self, at: At<'_>, bytes: &Bytes) -> Digest {
        Digest::from_bytes(bytes).unwrap_or_else(|_| {
            self.fault(at, "missing or not the 32 bytes of a SHA-256 digest");
            Digest::from_array([0; 32])
        })
    }

    /// An optional SHA-256 digest.
    pub fn optional_digest(&mut self, at: At<'_>, bytes: &Bytes) -> Option<Digest> {
        (!bytes.is_empty()).then(|| self.digest(at, bytes))
    }

    /// An optional message id.
    pub fn optional_message_id(&mut self, at: At<'_>, bytes: &Bytes) -> Option<MessageId> {
        if bytes.is_empty() {
            return None;
        }
        MessageId::from_bytes(bytes).map_err(|error| self.fault(at, error.to_string())).ok()
    }
}

/// A time in milliseconds; in seconds it is one of January 1970.
const YEAR_2000: u64 = 946_684_800_000;

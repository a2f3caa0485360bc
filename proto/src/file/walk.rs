//! The verbs in which `fields` describes a message: each has a reading and a writing half.

use bytes::Bytes;

use crate::payload::names::Named;

/// Walks over the fields of one JSON object, reading it into a message or writing a message out.
pub(super) trait Walk: Sized {
    /// A text; empty is absent.
    fn text(&mut self, key: &'static str, value: &mut String);
    /// A list of texts.
    fn texts(&mut self, key: &'static str, value: &mut Vec<String>);
    /// A whole number; 0 is absent.
    fn number(&mut self, key: &'static str, value: &mut u64);
    /// A percentage, 0 to 100, kept plus one.
    fn percent(&mut self, key: &'static str, value: &mut u32);
    /// true or false; false is absent.
    fn flag(&mut self, key: &'static str, value: &mut bool);
    /// true, false or absent, all three different.
    fn answer(&mut self, key: &'static str, value: &mut i32);
    /// An instant in milliseconds.
    fn time(&mut self, key: &'static str, value: &mut u64);
    /// A name of an enumeration.
    fn name<E: Named>(&mut self, key: &'static str, value: &mut i32);
    /// A list of names of an enumeration.
    fn names<E: Named>(&mut self, key: &'static str, value: &mut Vec<i32>);
    /// A UUID.
    fn uuid(&mut self, key: &'static str, value: &mut Bytes);
    /// A SHA-256 digest.
    fn digest(&mut self, key: &'static str, value: &mut Bytes);
    /// An object; absent is none.
    fn object<T: Default>(
        &mut self,
        key: &'static str,
        value: &mut Option<T>,
        fields: fn(&mut Self, &mut T),
    );
    /// A list of objects.
    fn objects<T: Default>(
        &mut self,
        key: &'static str,
        value: &mut Vec<T>,
        fields: fn(&mut Self, &mut T),
    );
    /// An object of the file whose fields lie in the message itself.
    fn group<T>(&mut self, key: &'static str, value: &mut T, fields: fn(&mut Self, &mut T));

    /// A number of 32 bits.
    fn small(&mut self, key: &'static str, value: &mut u32) {
        let mut wide = u64::from(*value);
        self.number(key, &mut wide);
        // A number over 32 bits is over every limit too: it is reported as such.
        *value = u32::try_from(wide).unwrap_or(u32::MAX);
    }
}

//! The strict reading of incoming protobuf bytes, before anything is decoded.
//!
//! Protobuf lets the same message be written in many ways. Two implementations that read such bytes
//! differently can be played against each other, so only the one canonical form is taken: fields
//! ascending, each singular field once, no unknown field, no default value written out, repeated
//! numbers packed, shortest varints, UTF-8. The scan allocates nothing, bounds depth and number of
//! fields first, and is followed by a comparison with what our own encoder emits ([`decode`]).

use prost::Message;

use crate::{limits, reason::Reason};

/// The fields of one message, by ascending number. Generated from the `.proto` files.
pub struct Schema {
    /// The message's name in the `.proto` file.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

/// One field of a message.
pub struct Field {
    /// Its number on the wire.
    pub number: u32,
    /// Its name in the `.proto` file.
    pub name: &'static str,
    /// How its value is written.
    pub form: Form,
    /// Whether it may come more than once.
    pub repeated: bool,
    /// Whether it is one of several of which one may be set.
    pub oneof: bool,
}

/// How a value is written.
pub enum Form {
    /// Varint, 1 only (0 is the default and not written).
    Bool,
    /// Varint below 2^32.
    Uint32,
    /// Varint.
    Uint64,
    /// Varint, a number below 2^31; whether it is a known one is for the checked type to say.
    Enum,
    /// UTF-8.
    Text,
    /// Anything.
    Bytes,
    /// Another message.
    Message(&'static Schema),
}

/// The generated table, one constant a message.
#[allow(missing_docs)]
pub mod schema {
    use super::{Field, Form, Schema};
    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}

/// Why bytes are not the canonical encoding of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// More bytes than this message may have.
    #[error("{message}: {got} bytes, {max} allowed")]
    TooLarge {
        /// Which message.
        message: &'static str,
        /// How many came.
        got: usize,
        /// How many are allowed.
        max: usize,
    },
    /// More nesting or more fields than any legal message has.
    #[error("{message}: too deep or too many fields")]
    TooComplex {
        /// Where the budget ended.
        message: &'static str,
    },
    /// Not canonical.
    #[error("{message}.{field}: {why}")]
    NotCanonical {
        /// Which message.
        message: &'static str,
        /// Which field; a number where it is unknown.
        field: String,
        /// Which rule is broken.
        why: &'static str,
    },
}

impl ScanError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } | Self::TooComplex { .. } => Reason::TooLarge,
            Self::NotCanonical { .. } => Reason::Malformed,
        }
    }
}

/// Decodes bytes that are the canonical encoding of `M` and no longer than `max`.
pub fn decode<M: Message + Default>(
    bytes: &bytes::Bytes,
    schema: &'static Schema,
    max: usize,
) -> Result<M, ScanError> {
    decode_with(bytes, schema, max, limits::FIELDS_MAX)
}

/// As [`decode`], for files that hold more fields than a message on the wire may have.
pub fn decode_with<M: Message + Default>(
    bytes: &bytes::Bytes,
    schema: &'static Schema,
    max: usize,
    fields_max: usize,
) -> Result<M, ScanError> {
    if bytes.len() > max {
        return Err(ScanError::TooLarge { message: schema.name, got: bytes.len(), max });
    }
    scan(bytes, schema, fields_max)?;
    let whole = |why| ScanError::NotCanonical { message: schema.name, field: "*".to_owned(), why };
    let message = M::decode(bytes.clone()).map_err(|_| whole("does not decode"))?;
    // The last word: exactly what our encoder would emit.
    if message.encoded_len() != bytes.len() || message.encode_to_vec() != **bytes {
        return Err(whole("is not what a canonical encoder emits"));
    }
    Ok(message)
}

/// Checks bytes against the rules at the head of this file.
fn scan(bytes: &[u8], schema: &'static Schema, fields_max: usize) -> Result<(), ScanError> {
    let mut budget = fields_max;
    scan_message(bytes, schema, limits::DEPTH_MAX, &mut budget)
}

fn scan_message(
    mut rest: &[u8],
    schema: &'static Schema,
    depth: usize,
    budget: &mut usize,
) -> Result<(), ScanError> {
    let too_complex = ScanError::TooComplex { message: schema.name };
    let depth = depth.checked_sub(1).ok_or(too_complex.clone())?;
    let mut last = 0;
    let mut last_oneof_set = false;
    while !rest.is_empty() {
        *budget = budget.checked_sub(1).ok_or(too_complex.clone())?;
        let bad = |field: String, why| ScanError::NotCanonical { message: schema.name, field, why };
        let key = varint(&mut rest).map_err(|why| bad("tag".to_owned(), why))?;
        let number =
            u32::try_from(key >> 3).map_err(|_| bad("tag".to_owned(), "field number over 2^29"))?;
        let field = schema
            .fields
            .iter()
            .find(|f| f.number == number)
            .ok_or_else(|| bad(number.to_string(), "unknown field"))?;
        let fault = |why| bad(field.name.to_owned(), why);
        if number < last {
            return Err(fault("fields are not in ascending order"));
        }
        if number == last && !field.repeated {
            return Err(fault("a singular field is repeated"));
        }
        if number == last && packs(&field.form) {
            return Err(fault("a packed list is split"));
        }
        if field.oneof && last_oneof_set && number != last {
            return Err(fault("two alternatives are set"));
        }
        last_oneof_set |= field.oneof;
        last = number;
        let wire = key & 7;
        if wire != expected_wire(field) {
            return Err(fault("wrong wire type"));
        }
        scan_value(&mut rest, field, schema, depth, budget)?;
    }
    Ok(())
}

fn scan_value(
    rest: &mut &[u8],
    field: &'static Field,
    schema: &'static Schema,
    depth: usize,
    budget: &mut usize,
) -> Result<(), ScanError> {
    let fault =
        |why| ScanError::NotCanonical { message: schema.name, field: field.name.to_owned(), why };
    if expected_wire(field) == WIRE_VARINT {
        let value = varint(rest).map_err(fault)?;
        return number_fits(&field.form, value, field.oneof).map_err(fault);
    }
    let length = varint(rest).map_err(fault)?;
    let length = usize::try_from(length).map_err(|_| fault("length is past the end"))?;
    let (value, after) =
        rest.split_at_checked(length).ok_or_else(|| fault("length is past the end"))?;
    *rest = after;
    // A default is not written, except where presence itself speaks: elements and alternatives.
    if value.is_empty()
        && !(field.oneof || matches!(field.form, Form::Message(_)))
        && (packs(&field.form) || !field.repeated)
    {
        return Err(fault("a default value is written out"));
    }
    match &field.form {
        Form::Text => std::str::from_utf8(value).map(drop).map_err(|_| fault("not UTF-8")),
        Form::Bytes => Ok(()),
        Form::Message(inner) => scan_message(value, inner, depth, budget),
        form => {
            let mut packed = value;
            while !packed.is_empty() {
                *budget =
                    budget.checked_sub(1).ok_or(ScanError::TooComplex { message: schema.name })?;
                let number = varint(&mut packed).map_err(fault)?;
                number_fits(form, number, true).map_err(fault)?;
            }
            Ok(())
        }
    }
}

fn number_fits(form: &Form, value: u64, zero_allowed: bool) -> Result<(), &'static str> {
    if value == 0 && !zero_allowed {
        return Err("a default value is written out");
    }
    match form {
        Form::Bool if value > 1 => Err("a bool over 1"),
        Form::Uint32 if value > u64::from(u32::MAX) => Err("a number over 32 bits"),
        Form::Enum if value > i32::MAX as u64 => Err("an enum value over 31 bits"),
        _ => Ok(()),
    }
}

fn packs(form: &Form) -> bool {
    matches!(form, Form::Bool | Form::Uint32 | Form::Uint64 | Form::Enum)
}

fn expected_wire(field: &Field) -> u64 {
    if packs(&field.form) && !field.repeated { WIRE_VARINT } else { WIRE_LEN }
}

/// Reads a varint in its shortest form.
fn varint(rest: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0u64;
    for shift in (0..).step_by(7).take(10) {
        let (byte, after) = rest.split_first().ok_or("a varint is cut off")?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err("a varint over 64 bits");
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return if bits == 0 && shift > 0 {
                Err("a varint is not in its shortest form")
            } else {
                Ok(value)
            };
        }
    }
    Err("a varint over 64 bits")
}

const WIRE_VARINT: u64 = 0;
const WIRE_LEN: u64 = 2;

#[cfg(test)]
mod differential;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;
    use crate::v1;

    fn header(bytes: &[u8]) -> Result<v1::Header, ScanError> {
        decode(&bytes::Bytes::copy_from_slice(bytes), &schema::HEADER, 4096)
    }

    fn why(bytes: &[u8]) -> &'static str {
        match header(bytes) {
            Err(ScanError::NotCanonical { why, .. }) => why,
            other => unreachable!("{other:?}"),
        }
    }

    /// Each way of writing one message differently is refused under its own name.
    #[test]
    fn second_readings_are_refused() {
        assert!(header(&[0x08, 1]).is_ok());
        assert_eq!(why(&[0x08, 0]), "a default value is written out");
        assert_eq!(why(&[0x08, 0x81, 0]), "a varint is not in its shortest form");
        assert_eq!(why(&[0x08, 1, 0x08, 1]), "a singular field is repeated");
        assert_eq!(why(&[0x1a, 1, b'x', 0x08, 1]), "fields are not in ascending order");
        assert_eq!(why(&[0x0d, 1, 0, 0, 0]), "wrong wire type");
        assert_eq!(why(&[0x0b, 0x0c]), "wrong wire type");
        assert_eq!(why(&[0xf8, 0x07, 1]), "unknown field");
        assert_eq!(why(&[0x1a, 2, 0xc3, 0x28]), "not UTF-8");
        assert_eq!(why(&[0x1a, 0]), "a default value is written out");
        assert_eq!(why(&[0x1a, 9, b'x']), "length is past the end");
        assert_eq!(why(&[0x08, 0xff, 0xff, 0xff, 0xff, 0x7f]), "a number over 32 bits");
        assert_eq!(why(&[0x08, 0x80]), "a varint is cut off");
        let eleven = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(why(&[&[0x48][..], &eleven].concat()), "a varint over 64 bits");
    }

    #[test]
    fn unpacked_lists_and_doubled_alternatives_are_refused() {
        let hello = |bytes: &[u8]| scan(bytes, &schema::HELLO, 9);
        assert!(hello(&[0x0a, 2, 1, 2]).is_ok());
        assert!(hello(&[0x08, 1, 0x08, 2]).is_err());
        assert!(hello(&[0x0a, 1, 1, 0x0a, 1, 2]).is_err());
        let envelope = |bytes: &[u8]| scan(bytes, &schema::ENVELOPE, 9);
        assert!(envelope(&[0x12, 1, 0]).is_ok());
        assert!(envelope(&[0x12, 1, 0, 0x1a, 1, 0]).is_err());
    }

    /// A bomb of empty elements ends at the budget, not in memory; a file has a budget of its own.
    #[test]
    fn bombs_meet_the_budget() {
        let read = |elements: usize, budget: Option<usize>| {
            let bytes = bytes::Bytes::from([0x1a, 0].repeat(elements));
            let (schema, max) = (&schema::EVIDENCE_BUNDLE, limits::BUNDLE_BYTES_MAX);
            match budget {
                None => decode::<v1::EvidenceBundle>(&bytes, schema, max),
                Some(budget) => decode_with(&bytes, schema, max, budget),
            }
        };
        let too_complex = Err(ScanError::TooComplex { message: "EvidenceBundle" });
        assert!(read(limits::FIELDS_MAX, None).is_ok());
        assert_eq!(read(limits::FIELDS_MAX + 1, None), too_complex);
        assert!(read(limits::FIELDS_MAX + 1, Some(limits::BUNDLE_FIELDS_MAX)).is_ok());
        let over = limits::BUNDLE_FIELDS_MAX + 1;
        assert_eq!(read(over, Some(limits::BUNDLE_FIELDS_MAX)), too_complex);
        let long = vec![0u8; 5000];
        assert!(matches!(header(&long), Err(ScanError::TooLarge { got: 5000, .. })));
    }

    /// No table is deeper than the limit, else a legal message could not be read.
    #[test]
    fn the_schema_fits_the_depth_limit() {
        fn depth(schema: &'static Schema) -> usize {
            let inner = schema.fields.iter().filter_map(|f| match f.form {
                Form::Message(inner) => Some(depth(inner)),
                _ => None,
            });
            1 + inner.max().unwrap_or(0)
        }
        for schema in [&schema::FRAME, &schema::PAYLOAD, &schema::CARD, &schema::EVIDENCE_BUNDLE] {
            assert!(depth(schema) < limits::DEPTH_MAX, "{}: {}", schema.name, depth(schema));
        }
    }

    proptest! {
        /// Any bytes are refused or are exactly what the encoder emits; nothing panics.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(header) = header(&bytes) {
                prop_assert_eq!(header.encode_to_vec(), bytes);
            }
        }

        /// Whatever our encoder emits is taken.
        #[test]
        fn own_bytes_are_canonical(
            version in 0u32..3,
            from in "[a-z.]{0,12}",
            to in proptest::collection::vec("[a-z]{0,4}", 0..5),
            created_at_ms in any::<u64>(),
        ) {
            let written = v1::Header { version, from, to, created_at_ms, ..Default::default() };
            prop_assert_eq!(header(&written.encode_to_vec()).unwrap(), written);
        }
    }
}

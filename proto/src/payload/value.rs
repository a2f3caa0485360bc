//! Indicators and identifiers: a type from a closed list and a value in that type's syntax.
//!
//! Enter through [`Identifier::parse`]. Wrong or too broad identifiers are what providers refuse
//! most, so a value that is not of its type is stopped where its author can still mend it.

use std::{fmt, net, str::FromStr};

use crate::limits;

use super::text::{Name, check_phone};

/// What kind of thing a value names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum IdentifierType {
    Ipv4,
    Ipv6,
    Cidr,
    Asn,
    Domain,
    Url,
    Email,
    Sha256,
    TlsFingerprint,
    Ja4,
    Btc,
    Iban,
    Phone,
    /// An account at a provider: its handle or number there.
    Account,
    /// A person's or organisation's name.
    Name,
    #[default]
    Other,
}

/// A value in the syntax of its type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identifier {
    /// What kind of thing it names.
    pub r#type: IdentifierType,
    /// As it was written.
    pub value: Name,
}

impl IdentifierType {
    /// All types with their names in messages.
    pub const ALL: [(IdentifierType, &'static str); 16] = [
        (Self::Ipv4, "ipv4"),
        (Self::Ipv6, "ipv6"),
        (Self::Cidr, "cidr"),
        (Self::Asn, "asn"),
        (Self::Domain, "domain"),
        (Self::Url, "url"),
        (Self::Email, "email"),
        (Self::Sha256, "sha256"),
        (Self::TlsFingerprint, "tls-fp"),
        (Self::Ja4, "ja4"),
        (Self::Btc, "btc"),
        (Self::Iban, "iban"),
        (Self::Phone, "phone"),
        (Self::Account, "account"),
        (Self::Name, "name"),
        (Self::Other, "other"),
    ];

    /// Reads the name of a type.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(r#type, _)| *r#type).ok_or_else(
            || {
                let names: Vec<_> = Self::ALL.iter().map(|(_, name)| *name).collect();
                format!("unknown type: expected one of {}", names.join(", "))
            },
        )
    }

    /// Whether a source port makes sense beside it.
    pub fn is_address(self) -> bool {
        matches!(self, Self::Ipv4 | Self::Ipv6)
    }
}

impl fmt::Display for IdentifierType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(r#type, _)| r#type == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl Identifier {
    /// Checks a value against its type's syntax.
    pub fn parse(r#type: IdentifierType, value: &str) -> Result<Self, String> {
        let name = Name::parse(value, VALUE_CHARS_MAX)?;
        let bad = |hint: &str| Err(format!("not of type {}: {hint}", r#type));
        let good = match r#type {
            IdentifierType::Ipv4 => net::Ipv4Addr::from_str(value).is_ok(),
            IdentifierType::Ipv6 => net::Ipv6Addr::from_str(value).is_ok(),
            IdentifierType::Cidr => is_cidr(value),
            IdentifierType::Asn => is_asn(value),
            IdentifierType::Domain => is_domain(value),
            IdentifierType::Url => is_url(value),
            IdentifierType::Email => is_email(value),
            IdentifierType::Sha256 => value.parse::<crate::ids::Digest>().is_ok(),
            IdentifierType::TlsFingerprint | IdentifierType::Ja4 => {
                value.bytes().all(|b| b.is_ascii_graphic())
            }
            IdentifierType::Btc => {
                (26..=90).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric())
            }
            IdentifierType::Iban => is_iban(value),
            IdentifierType::Phone => check_phone(value).is_ok(),
            IdentifierType::Account | IdentifierType::Name | IdentifierType::Other => true,
        };
        if good { Ok(Self { r#type, value: name }) } else { bad(hint(r#type)) }
    }
}

/// A domain name in ASCII (RFC 1123 labels; other scripts as `xn--` labels).
pub(crate) fn is_domain(text: &str) -> bool {
    let labels = text.split('.').filter(|label| is_label(label)).count();
    text.len() <= 253 && labels >= 2 && labels == text.split('.').count()
}

/// An IPv4 or IPv6 address.
pub(crate) fn is_address(text: &str) -> bool {
    text.parse::<net::IpAddr>().is_ok()
}

/// An address with one `@` and a domain after it.
pub fn is_email(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(local, domain)| {
        (1..=64).contains(&local.len())
            && !local.contains(|c: char| c.is_whitespace() || c == '@')
            && is_domain(domain)
    })
}

/// An autonomous system number: `AS64500`.
pub(crate) fn is_asn(text: &str) -> bool {
    text.strip_prefix("AS")
        .is_some_and(|number| !number.starts_with(['+', '0']) && number.parse::<u32>().is_ok())
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            && !scheme.starts_with("hxx")
            && !rest.is_empty()
            && !rest.contains("[.]")
            && rest.bytes().all(|b| b.is_ascii_graphic())
    })
}

/// An address block whose host bits are zero: `192.0.2.0/24`.
fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let Ok(length) = length.parse::<u8>() else { return false };
    let (bits, width) = match address.parse::<net::IpAddr>() {
        Ok(net::IpAddr::V4(v4)) => (u128::from(v4.to_bits()) << 96, 32),
        Ok(net::IpAddr::V6(v6)) => (v6.to_bits(), 128),
        Err(_) => return false,
    };
    length <= width && bits.checked_shl(u32::from(length)).unwrap_or(0) == 0
}

/// ISO 13616: country, two check digits, account; the number modulo 97 is 1.
fn is_iban(text: &str) -> bool {
    if !(15..=34).contains(&text.len())
        || !text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    {
        return false;
    }
    let (head, account) = text.split_at(4);
    let digits = account.chars().chain(head.chars()).filter_map(|c| c.to_digit(36));
    let remainder = digits.fold(0u32, |sum, digit| {
        if digit > 9 { (sum * 100 + digit) % 97 } else { (sum * 10 + digit) % 97 }
    });
    head.starts_with(|c: char| c.is_ascii_uppercase()) && remainder == 1
}

fn hint(r#type: IdentifierType) -> &'static str {
    match r#type {
        IdentifierType::Ipv4 => "write `203.0.113.47`",
        IdentifierType::Ipv6 => "write `2001:db8:23::7`",
        IdentifierType::Cidr => "write the first address and the length, as `192.0.2.0/24`",
        IdentifierType::Asn => "write `AS64500`",
        IdentifierType::Domain => "write `parcel-fee.example.net`; other scripts as `xn--` labels",
        IdentifierType::Url => "write `https://host/path`, neither defanged nor with blanks",
        IdentifierType::Email => "write `name@example.com`",
        IdentifierType::Sha256 => "write 64 lower-case hexadecimal digits",
        IdentifierType::TlsFingerprint | IdentifierType::Ja4 => "write it without blanks",
        IdentifierType::Btc => "write the address, 26 to 90 letters and digits",
        IdentifierType::Iban => "write it without blanks and check its digits",
        IdentifierType::Phone => "write `+1-202-555-0143`",
        IdentifierType::Account | IdentifierType::Name | IdentifierType::Other => "write a text",
    }
}

/// Longest value: long enough for the longest useful URL.
const VALUE_CHARS_MAX: usize = limits::LINE_CHARS_MAX * 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn check(cases: &[(&str, &str)], good: bool) {
        for (name, value) in cases {
            let r#type = IdentifierType::parse(name).unwrap();
            assert_eq!(Identifier::parse(r#type, value).is_ok(), good, "{name} {value}");
        }
    }

    /// Each type takes its own syntax and no other.
    #[test]
    fn values_are_of_their_type() {
        let hash = "0".repeat(64);
        check(
            &[
                ("ipv4", "203.0.113.47"),
                ("ipv6", "2001:db8:23::7"),
                ("cidr", "192.0.2.0/24"),
                ("cidr", "2001:db8::/32"),
                ("cidr", "0.0.0.0/0"),
                ("cidr", "192.0.2.1/32"),
                ("asn", "AS64500"),
                ("domain", "xn--bcher-kva.example"),
                ("url", "https://example.net/a?b=c"),
                ("email", "a.nonym77@example.com"),
                ("sha256", &hash),
                ("tls-fp", "ja4:t13d1516h2_example"),
                ("iban", "GB82WEST12345698765432"),
                ("phone", "+1-202-555-0143"),
                ("account", "platform-id 1000000000000042"),
            ],
            true,
        );
        check(
            &[
                ("ipv4", "203.0.113.256"),
                ("ipv4", "2001:db8::1"),
                ("ipv6", "203.0.113.47"),
                ("cidr", "192.0.2.1/24"),
                ("cidr", "192.0.2.0/33"),
                ("cidr", "192.0.2.0"),
                ("asn", "64500"),
                ("asn", "AS4294967296"),
                ("domain", "parcel-fee[.]example.net"),
                ("domain", "localhost"),
                ("domain", "bücher.example"),
                ("domain", "a..b"),
                ("url", "hxxp://example.net"),
                ("url", "example.net"),
                ("email", "example.com"),
                ("email", "a b@example.com"),
                ("sha256", "abc"),
                ("iban", "GB82WEST12345698765433"),
                ("btc", "1"),
                ("phone", "112"),
                ("account", "a\u{202e}b"),
                ("name", "a\u{200b}b"),
            ],
            false,
        );
        assert!(IdentifierType::parse("ip").unwrap_err().contains("ipv4"));
    }

    proptest! {
        #[test]
        fn any_value_is_taken_or_refused(i in 0usize..16, value in "\\PC{0,60}") {
            let (r#type, name) = IdentifierType::ALL.get(i).copied().unwrap();
            prop_assert_eq!(IdentifierType::parse(name).unwrap(), r#type);
            if let Ok(identifier) = Identifier::parse(r#type, &value) {
                prop_assert_eq!(identifier.value.as_str(), value);
            }
        }
    }
}

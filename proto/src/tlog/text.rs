//! Numbers and bytes as the C2SP texts write them: each value has one spelling, others are refused.

use data_encoding::BASE64;

/// "the ASCII decimal representation [...] with no leading zeroes".
pub(super) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Base64 of RFC 4648, section 4. The decoder alone would also read blocks that were each padded
/// and then put together, such as `AAA=AAAA`; other verifiers refuse them, and so does this.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    (BASE64.encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "00", "01", "+1", "-1", " 1", "1 ", "0x1", "18446744073709551616"] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    /// The first of the refused was once read, and printed back as `AAAAAAA=`.
    #[test]
    fn bytes_have_one_spelling() {
        for (good, bytes) in [("", 0), ("AA==", 1), ("AAA=", 2), ("AAAA", 3), ("AAAAAAA=", 5)] {
            assert_eq!(base64(good), Some(vec![0; bytes]), "{good:?}");
        }
        let bad = ["AAA=AAAA", "AA==AA==", "AAA", "AA=", "AAA==", "AAB=", "A A=", "AAA=\n", "--__"];
        for bad in bad {
            assert_eq!(base64(bad), None, "{bad:?}");
        }
    }
}

//! The filter of a list: `direction = OUT AND state = DEFERRED AND peer = "xb.ncu"`.
//!
//! Fields: direction, state, open, peer, kind, priority, acknowledged; each once, joined by AND.
//! Invariant: what does not parse is refused with the place; nothing is ignored.

use relay_proto::{ids::UnitId, reason::Reason, v1};

use super::status::Problem;
use crate::store::{
    Filter,
    records::{EntryRecord, EntryState},
};

/// A filter that parsed.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    /// What the store tests.
    pub filter: Filter,
    /// The state that one delivery must have; with a peer, the delivery to that peer.
    pub state: Option<v1::DeliveryState>,
}

/// Reads a filter; empty: everything.
pub(super) fn parse(text: &str) -> Result<Query, Problem> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(wrong("is too long"));
    }
    let words = words(text)?;
    let mut query = Query::default();
    let mut seen: Vec<&str> = Vec::new();
    for (place, term) in words.split(|word| word.is("AND")).enumerate() {
        if words.is_empty() {
            break;
        }
        let [name, equals, value] = term else {
            let place = place + 1;
            return Err(wrong(&format!("term {place}: expected `field = value`, joined by AND")));
        };
        if !equals.is("=") || name.quoted {
            return Err(wrong(&format!("after `{}`: expected `=`", name.text)));
        }
        if seen.contains(&name.text) {
            return Err(wrong(&format!("`{}` is there twice", name.text)));
        }
        seen.push(name.text);
        set(&mut query, name.text, value.text)?;
    }
    Ok(query)
}

#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    quoted: bool,
}

impl Word<'_> {
    fn is(&self, text: &str) -> bool {
        !self.quoted && self.text == text
    }
}

fn words(text: &str) -> Result<Vec<Word<'_>>, Problem> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, quoted, after) = match first {
            '"' => {
                let inner = rest.strip_prefix('"').unwrap_or(rest);
                let (word, after) =
                    inner.split_once('"').ok_or_else(|| wrong("a quotation mark is not closed"))?;
                (word, true, after)
            }
            '=' => ("=", false, rest.strip_prefix('=').unwrap_or(rest)),
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || c == '=' || c == '"');
                let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
                (word, false, after)
            }
        };
        words.push(Word { text: word, quoted });
        rest = after.trim_start();
    }
    Ok(words)
}

fn set(query: &mut Query, name: &str, value: &str) -> Result<(), Problem> {
    let filter = &mut query.filter;
    let bad = |wanted: &str| wrong(&format!("`{name}`: expected {wanted}"));
    match name {
        "direction" => {
            let known = v1::Direction::from_str_name(&format!("DIRECTION_{value}"));
            let known = known.filter(|direction| *direction != v1::Direction::Unspecified);
            filter.direction = Some(number(known.ok_or_else(|| bad("IN or OUT"))?.into()));
        }
        "kind" => {
            let known = v1::Kind::from_str_name(&format!("KIND_{value}"));
            let known = known.filter(|kind| *kind != v1::Kind::Unspecified);
            let known = known.ok_or_else(|| bad("ALERT or PRESERVATION_REQUEST"))?;
            filter.kind = Some(number(known.into()));
        }
        "priority" => {
            let known = v1::Priority::from_str_name(&format!("PRIORITY_{value}"));
            let known = known.filter(|priority| *priority != v1::Priority::Unspecified);
            let known = known.ok_or_else(|| bad("ROUTINE, URGENT or EMERGENCY"))?;
            filter.priority = Some(number(known.into()));
        }
        "state" => {
            let state = v1::DeliveryState::from_str_name(&format!("DELIVERY_STATE_{value}"));
            let state = state.and_then(|state| Some((state, entry_test(state)?)));
            let (state, test) = state.ok_or_else(|| {
                bad("QUEUED, IN_FLIGHT, DEFERRED, HELD, DELIVERED, REFUSED or EXPIRED")
            })?;
            (query.state, filter.entry) = (Some(state), Some(test));
            filter.open |= !matches!(
                state,
                v1::DeliveryState::Delivered
                    | v1::DeliveryState::Refused
                    | v1::DeliveryState::Expired
            );
        }
        "open" => match value {
            "yes" => filter.open = true,
            _ => return Err(bad("yes")),
        },
        "peer" => {
            let unit: UnitId = value.parse().map_err(|_| bad("a unit, as in `xb.ncu`"))?;
            filter.peer = Some(unit.to_string());
        }
        "acknowledged" => {
            filter.acknowledged = Some(match value {
                "yes" => true,
                "no" => false,
                _ => return Err(bad("yes or no")),
            });
        }
        _ => {
            let known = "direction, state, open, peer, kind, priority or acknowledged";
            return Err(wrong(&format!("`{name}` is no field: expected {known}")));
        }
    }
    Ok(())
}

/// What the store's entries can say about a state; that something is in flight, or held for want
/// of a trusted peer, is tested afterwards.
fn entry_test(state: v1::DeliveryState) -> Option<fn(&EntryRecord) -> bool> {
    Some(match state {
        v1::DeliveryState::Unspecified => return None,
        v1::DeliveryState::Queued | v1::DeliveryState::InFlight => {
            |entry| entry.state() == EntryState::Queued
        }
        v1::DeliveryState::Deferred => |entry| entry.state() == EntryState::Deferred,
        v1::DeliveryState::Held => EntryRecord::is_open,
        v1::DeliveryState::Delivered => |entry| entry.state() == EntryState::Delivered,
        v1::DeliveryState::Refused => |entry| entry.state() == EntryState::Refused,
        v1::DeliveryState::Expired => |entry| entry.state() == EntryState::Expired,
    })
}

fn number(wire: i32) -> u32 {
    wire.unsigned_abs()
}

fn wrong(text: &str) -> Problem {
    Problem::field(Reason::BadFilter, "filter", text)
}

const FILTER_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// All fields at once, with and without blanks and quotes.
    #[test]
    fn filters_are_read() {
        let text = "direction = OUT AND state=DEFERRED AND peer = \"xb.ncu\" AND kind = ALERT \
                    AND priority = URGENT AND acknowledged = no";
        let query = parse(text).unwrap();
        let filter = &query.filter;
        assert_eq!((filter.direction, filter.kind, filter.priority), (Some(1), Some(1), Some(2)));
        assert_eq!((filter.peer.as_deref(), filter.acknowledged), (Some("xb.ncu"), Some(false)));
        assert_eq!(query.state, Some(v1::DeliveryState::Deferred));
        let deferred = EntryRecord { state: EntryState::Deferred.into(), ..Default::default() };
        assert!(filter.entry.unwrap()(&deferred));
        assert!(!filter.entry.unwrap()(&EntryRecord::default()));
        assert!(parse("  ").unwrap().filter.direction.is_none());
    }

    /// Whatever is not understood is refused and named; nothing is left out silently.
    #[test]
    fn other_texts_are_refused() {
        let bad = [
            "direction",
            "direction =",
            "direction OUT",
            "direction = SIDEWAYS",
            "direction = UNSPECIFIED",
            "direction = OUT AND",
            "AND",
            "direction = OUT OR kind = ALERT",
            "direction = OUT AND direction = IN",
            "state = UNSPECIFIED",
            "peer = \"xb.ncu",
            "peer = XB",
            "title = x",
            "acknowledged = maybe",
            "open = no",
            "open = yes AND open = yes",
            "\"direction\" = OUT",
            "= = =",
        ];
        for bad in bad {
            let problem = parse(bad).unwrap_err();
            assert_eq!(problem.reason(), Reason::BadFilter, "{bad}");
        }
        assert!(parse(&"x".repeat(513)).is_err());
    }
}

//! `peer verify`: both sides compare a number of sixty digits over both identity keys, by
//! telephone.
//!
//! The side that types does not see the digits: whoever sees them says "looks fine, yes". Each
//! side types six of the twelve groups as heard; the other side is then asked for the other six,
//! so that all are compared.

use std::collections::BTreeSet;

use relay_proto::v1;

use super::{ReadReport, VerifyReport, known_or_told, our_unit, peer};
use crate::{
    args::VerifyArgs,
    client::Node,
    commands::once_for_sure,
    context::Context,
    exit::Exit,
    failure::Failure,
    terminal::ask,
    view::{LawView, PeerView},
};

/// Reads the digits out, takes them from a script, or asks for those that are heard.
pub async fn run(context: &Context, args: &VerifyArgs) -> Result<Exit, Failure> {
    if args.read {
        return read(context, args).await;
    }
    if let Some(digits) = &args.fingerprint {
        let (digits, by) = (all_digits(digits)?, who(context, args)?);
        let node = context.node().await?;
        return compare(context, &node, args, by, digits, Vec::new()).await;
    }
    context.may_ask(&format!(
        "with all digits by a safe way: relay-cli peer verify {} --by NAME --fingerprint DIGITS",
        args.unit
    ))?;
    let by = who(context, args)?;
    let node = context.node().await?;
    let known = PeerView::from(&peer(&node, &args.unit).await?);
    context.printer().say(&format!(
        "{}, card number {}. Telephone the desk on a number you ALREADY have.",
        known.display_name.as_deref().unwrap_or(args.unit.as_str()),
        known.card_number.unwrap_or_default()
    ));
    for (label, text) in known.law.iter().flat_map(LawView::lines) {
        context.printer().say(&format!("Its card says: {} {text}", label.to_lowercase()));
    }
    let us = our_unit(&node).await.unwrap_or_else(|| "OUR-UNIT".to_owned());
    context
        .printer()
        .say(&format!("They read from: relay-cli peer verify {us} --read. Type what you HEAR."));
    let groups = match args.groups.is_empty() {
        true => six_of_twelve(rand::random()),
        false => args.groups.iter().copied().collect(),
    };
    let mut heard = Vec::new();
    for group in &groups {
        let digits = ask_group(*group).await?;
        heard.push(v1::HeardGroup { group: *group, digits });
    }
    compare(context, &node, args, by, String::new(), heard).await
}

/// Who compares: as stated, else the account; in a service or a bare shell there is none.
fn who(context: &Context, args: &VerifyArgs) -> Result<String, Failure> {
    let by = args.by.clone().unwrap_or_else(|| context.account());
    match by.trim() {
        "" => Err(Failure::new(Exit::Usage, "Nobody is named who compares the digits.")
            .safe("nothing was compared")
            .with_remedy(format!("relay-cli peer verify {} --by NAME", args.unit))),
        by => Ok(by.to_owned()),
    }
}

async fn read(context: &Context, args: &VerifyArgs) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let peer = peer(&node, &args.unit).await?;
    let groups = split_groups(&peer.fingerprint);
    if groups.len() != GROUPS {
        let what = format!("The node gave no telephone number for {}.", args.unit);
        return Err(Failure::new(Exit::Attention, what).with_remedy("relay-cli status"));
    }
    context.printer().report(&ReadReport {
        our_unit: our_unit(&node).await,
        unit: args.unit.to_string(),
        trust: PeerView::from(&peer).trust,
        fingerprint: groups.concat(),
        groups,
    })
}

async fn compare(
    context: &Context,
    node: &Node,
    args: &VerifyArgs,
    by: String,
    fingerprint: String,
    heard: Vec<v1::HeardGroup>,
) -> Result<Exit, Failure> {
    let id = context.request_id(&args.repeat);
    let typed: BTreeSet<u32> = heard.iter().map(|group| group.group).collect();
    let request = v1::VerifyPeerRequest {
        request_id: id.to_string(),
        unit: args.unit.to_string(),
        fingerprint,
        heard,
        by,
    };
    let answer = once_for_sure(context, node, id, || {
        let (mut client, request) = (node.peers(), node.request(request.clone()));
        async move { client.verify_peer(request).await }
    });
    let peer = answer.await.map_err(|failure| match failure.exit {
        Exit::NotFound => known_or_told(failure),
        _ => failure.safe("the peer's trust is as it was"),
    })?;
    let rest = match typed.is_empty() {
        true => Vec::new(),
        false => (1..=12).filter(|group| !typed.contains(group)).collect(),
    };
    let peer = PeerView::from(&peer);
    let our_unit = our_unit(node).await;
    context.printer().report(&VerifyReport { request_id: id.to_string(), our_unit, peer, rest })
}

async fn ask_group(group: u32) -> Result<String, Failure> {
    for _ in 0..TYPOS_MAX {
        let typed = ask(&format!("group {group}: ")).await?;
        let digits: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
        if digits.len() == GROUP_DIGITS && digits.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(digits);
        }
    }
    Err(Failure::new(Exit::Usage, "A group is five digits.").safe("nothing was compared"))
}

/// All sixty digits without blanks.
fn all_digits(text: &str) -> Result<String, Failure> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    if digits.len() != GROUPS * GROUP_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        let what = format!("--fingerprint has {} characters, 60 digits are needed.", digits.len());
        return Err(Failure::new(Exit::Usage, what)
            .safe("nothing was compared")
            .with_remedy("they read them: relay-cli peer verify OUR-UNIT --read"));
    }
    Ok(digits)
}

/// The groups of the node's text, whatever separates them.
fn split_groups(text: &str) -> Vec<String> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_digit).collect();
    digits.chunks(GROUP_DIGITS).map(|group| group.iter().collect()).collect()
}

/// Six different numbers from 1 to 12, each set as likely as any other, up to what 64 random bits
/// allow.
fn six_of_twelve(mut random: u64) -> BTreeSet<u32> {
    let mut left: Vec<u32> = (1..=12).collect();
    let mut chosen = BTreeSet::new();
    for _ in 0..GROUPS / 2 {
        let size = u64::try_from(left.len()).unwrap_or(1).max(1);
        let at = usize::try_from(random % size).unwrap_or_default();
        chosen.insert(left.swap_remove(at));
        random /= size;
    }
    chosen
}

/// Groups of the number.
const GROUPS: usize = 12;

/// Digits of a group.
const GROUP_DIGITS: usize = 5;

/// How often a group may be typed with the wrong length.
const TYPOS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Always six different ones, and over many draws each group is asked for.
    #[test]
    fn six_groups_are_asked_for() {
        let mut seen = BTreeSet::new();
        for draw in 0..10_000_u64 {
            let groups = six_of_twelve(draw.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            assert_eq!(groups.len(), 6);
            assert!(groups.iter().all(|group| (1..=12).contains(group)));
            seen.extend(groups);
        }
        assert_eq!(seen.len(), 12);
    }

    /// Sixty digits however they are spaced; anything else never reaches the node.
    #[test]
    fn digits_are_counted_before_they_are_compared() {
        let spaced = "12345 ".repeat(12);
        assert_eq!(all_digits(&spaced).unwrap(), "12345".repeat(12));
        assert_eq!(split_groups(&spaced).len(), 12);
        for bad in ["", "12345", &"1".repeat(61), &"١".repeat(60)] {
            assert_eq!(all_digits(bad).unwrap_err().exit, Exit::Usage);
        }
    }
}

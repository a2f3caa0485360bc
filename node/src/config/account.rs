//! Accounts: who may call what of the local API.
//!
//! A caller is known by his user id or by his client certificate; the account that has it gives him
//! a name and roles. Invariant: nobody is in two accounts; whoever is in none may do nothing.

use std::collections::BTreeSet;

use data_encoding::HEXLOWER_PERMISSIVE;
use nix::unistd::{Uid, User};

use relay_proto::limits::PURPOSE_CHARS_MAX;

use super::document::Section;

/// What a caller may do. Each is given by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Send what a unit says of its own accord: alerts, requests, what follows them.
    Submit,
    /// Read what the account itself sent or took, with all messages of the same matters.
    ReadOwn,
    /// Read everything.
    ReadAll,
    /// Say that a message was taken.
    Acknowledge,
    /// Send what answers other units: decisions, confirmations, replies.
    Respond,
    /// Read the audit log.
    Audit,
    /// Peers and alarms.
    Administer,
}

impl Role {
    /// Each with its word in the configuration.
    pub const ALL: [(&'static str, Self); 7] = [
        ("submit", Self::Submit),
        ("read-own", Self::ReadOwn),
        ("read-all", Self::ReadAll),
        ("acknowledge", Self::Acknowledge),
        ("respond", Self::Respond),
        ("audit", Self::Audit),
        ("administer", Self::Administer),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, role)| *role == self).map_or("", |(word, _)| word)
    }
}

/// `[api.accounts.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSettings {
    /// As audit log and errors name it.
    pub name: String,
    /// Users at the socket, by number.
    pub users: BTreeSet<u32>,
    /// SHA-256 of client certificates, DER.
    pub certificates: BTreeSet<[u8; 32]>,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// For what it reads content when a call does not say; empty: each call must.
    pub purpose: String,
}

impl AccountSettings {
    /// The user that this program runs as may do everything: he has its keys.
    pub fn of_this_user() -> Self {
        Self {
            name: "operator".to_owned(),
            users: BTreeSet::from([Uid::effective().as_raw()]),
            certificates: BTreeSet::new(),
            roles: Role::ALL.iter().map(|(_, role)| *role).collect(),
            purpose: String::new(),
        }
    }
}

/// Reads all accounts.
pub(super) fn accounts(section: &Section<'_, '_>) -> Vec<AccountSettings> {
    let mut accounts: Vec<AccountSettings> = Vec::new();
    for (name, mut section) in section.each() {
        let account = account(name, &mut section);
        let taken = |other: &&AccountSettings| {
            !other.users.is_disjoint(&account.users)
                || !other.certificates.is_disjoint(&account.certificates)
        };
        if let Some(other) = accounts.iter().find(taken) {
            let problem = format!("a user or certificate of it is in `{}` as well", other.name);
            section.refuse("users", problem, "leave it in one of the two".into());
        }
        if !is_name(name) {
            let problem = format!("`{name}` is no name of an account");
            let mend = format!(
                "1 to {NAME_CHARS_MAX} of a-z, 0-9 and inner hyphens; `{ACCOUNT_OF_NODE}` is the \
                 node's own"
            );
            section.refuse("users", problem, mend);
        }
        section.finish();
        accounts.push(account);
    }
    accounts
}

fn account(name: &str, section: &mut Section<'_, '_>) -> AccountSettings {
    let users = section.list("users", MEMBERS_MAX, "\"case-system\"", user).unwrap_or_default();
    let example = "\"64 hexadecimal digits\"";
    let certificates = section.list("certificates", MEMBERS_MAX, example, |text| {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let digest = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        digest.ok_or_else(|| {
            "is no SHA-256 of a certificate: `openssl x509 -in FILE -outform DER | sha256sum`"
                .into()
        })
    });
    let certificates = certificates.unwrap_or_default();
    let roles = section.list("roles", Role::ALL.len(), "\"submit\", \"read-own\"", |text| {
        let role = Role::ALL.iter().find(|(word, _)| *word == text).map(|(_, role)| *role);
        let words = Role::ALL.map(|(word, _)| word).join(", ");
        role.ok_or_else(|| format!("is no role: {words}"))
    });
    let purpose = section.optional("purpose", "\"casework of the unit\"", |text| {
        let sound = !text.trim().is_empty()
            && text.chars().count() <= PURPOSE_CHARS_MAX
            && !text.chars().any(char::is_control);
        let wanted = format!("is not one line of 1 to {PURPOSE_CHARS_MAX} characters");
        if sound { Ok(text.trim().to_owned()) } else { Err(wanted) }
    });
    if users.is_empty() && certificates.is_empty() {
        let mend = "name `users` or `certificates`".to_owned();
        section.refuse("users", "nobody is in this account".into(), mend);
    }
    if roles.as_ref().is_none_or(Vec::is_empty) {
        let mend = "add `roles = [\"read-own\"]`, or take the account out".to_owned();
        section.refuse("roles", "an account without roles may do nothing".into(), mend);
    }
    AccountSettings {
        name: name.to_owned(),
        users: users.into_iter().collect(),
        certificates: certificates.into_iter().collect(),
        roles: roles.unwrap_or_default().into_iter().collect(),
        purpose: purpose.unwrap_or_default(),
    }
}

/// A user of this machine, by number or by name.
fn user(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err("there is no such user on this machine".into()),
        Err(error) => Err(format!("the user cannot be looked up: {error}")),
    }
}

fn is_name(name: &str) -> bool {
    let inner = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    inner
        && (1..=NAME_CHARS_MAX).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name != ACCOUNT_OF_NODE
}

/// Who sends what the node sends by itself.
pub const ACCOUNT_OF_NODE: &str = "node";

const NAME_CHARS_MAX: usize = 32;

/// Users, or certificates, of one account: a team and its old certificates.
const MEMBERS_MAX: usize = 64;

//! What a configuration says of accounts.

use super::*;

/// Accounts: who is in two, in none, or has a role that nobody knows is told with its place.
#[test]
fn accounts_are_checked() {
    let fingerprint = "9F".repeat(32);
    let files = Files::new(&format!(
        "[node]\nunit = \"xa.cyber-poc\"\n[api.accounts.records]\nusers = [\"1001\", \"root\"]\n\
         certificates = [\"{fingerprint}\"]\nroles = [\"submit\", \"read-own\"]\n\
         purpose = \" casework \"\n"
    ));
    let settings = load(&files.path()).unwrap();
    let [account] = settings.api.accounts.as_slice() else { panic!("one account") };
    assert_eq!((account.name.as_str(), account.purpose.as_str()), ("records", "casework"));
    assert_eq!(account.users, [0, 1001].into());
    assert_eq!(account.certificates, [[0x9f; 32]].into());
    assert_eq!(account.roles, [Role::Submit, Role::ReadOwn].into());

    let faults = |sections: &str| {
        let files = Files::new(&format!("[node]\nunit = \"xa.cyber-poc\"\n{sections}"));
        load(&files.path()).unwrap_err().to_string()
    };
    let role = "roles = [\"submit\"]\n";
    for (sections, expected) in [
        (format!("[api.accounts.a]\n{role}"), "nobody is in this account"),
        ("[api.accounts.a]\nusers = [\"1\"]\n".to_owned(), "may do nothing"),
        (
            "[api.accounts.a]\nusers = [\"1\"]\nroles = [\"root\"]\n".to_owned(),
            "is no role: submit",
        ),
        (format!("[api.accounts.a]\nusers = [\"no-such-user\"]\n{role}"), "no such user"),
        (format!("[api.accounts.a]\ncertificates = [\"9f\"]\n{role}"), "is no SHA-256"),
        (format!("[api.accounts.node]\nusers = [\"1\"]\n{role}"), "`node` is no name"),
        (format!("[api.accounts.A]\nusers = [\"1\"]\n{role}"), "`A` is no name"),
        (format!("[api.accounts.a]\nuser = [\"1\"]\n{role}"), "did you mean `users`?"),
        (format!("[api.accounts]\na = 1\n{role}"), "not a section"),
        (
            format!(
                "[api.accounts.a]\nusers = [\"1\"]\n{role}[api.accounts.b]\nusers = [\"1\"]\n{role}"
            ),
            "is in `a` as well",
        ),
    ] {
        let told = faults(&sections);
        assert!(told.contains(expected), "{sections}: {told}");
    }
}

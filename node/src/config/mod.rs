//! Configuration: from files to checked [`Settings`], or to a [`Report`] of everything that is
//! wrong with them.
//!
//! Enter through [`load`] to run and [`inspect`] to look. May use `proto` and `core`'s plain data
//! only; reads the files it is given and their profiles, nothing else, no environment, no includes.
//! Invariants: an unknown key is an error; all faults are told together, each with its place and
//! its mend; secrets are never values, only paths.

mod account;
mod document;
mod fault;
mod profile;
mod read;
mod settings;
mod units;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use relay_core::profile::Profile;

use self::document::{Document, Places};
pub use self::{
    account::{ACCOUNT_OF_NODE, AccountSettings, Role},
    fault::{Fault, Place, Report, Severity, escaped, is_printable},
    profile::language,
    read::{SOCKET_BYTES_MAX, host_and_port, socket_bytes},
    settings::*,
};

/// Reads a configuration to run by.
pub fn load(path: &Path) -> Result<Settings, Report> {
    let mut inspection = inspect(path);
    match inspection.settings.take() {
        Some(settings) if inspection.faults.is_empty() => Ok(settings),
        _ => Err(inspection.report()),
    }
}

/// What was read of a configuration, to be looked at further.
#[derive(Debug)]
pub struct Inspection {
    /// The settings as far as they go: values at fault are at their defaults. None without a unit.
    pub settings: Option<Settings>,
    file: PathBuf,
    places: Option<Places>,
    faults: Vec<Fault>,
}

impl Inspection {
    /// Adds a fault of a value that is well-formed but does not fit the machine.
    pub fn add(
        &mut self,
        (severity, label): (Severity, &'static str),
        key: &str,
        problem: String,
        mend: String,
    ) {
        let place = self.places.as_ref().and_then(|places| places.of(key));
        let (file, key) = (self.file.clone(), key.into());
        self.faults.push(Fault { file, place, severity, label, key, problem, mend });
    }

    /// Whether this key or one below it is at fault already, so that its value is not the file's.
    pub fn is_faulty(&self, key: &str) -> bool {
        self.faults.iter().any(|fault| {
            let rest = fault.key.strip_prefix(key);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// All faults in the order of files and lines.
    pub fn report(mut self) -> Report {
        self.faults.sort_by_key(|fault| (fault.file != self.file, fault.place));
        Report { file: self.file, faults: self.faults }
    }
}

/// Reads a configuration and its profiles as far as they can be read.
pub fn inspect(path: &Path) -> Inspection {
    let mut inspection =
        Inspection { settings: None, file: path.into(), places: None, faults: Vec::new() };
    let text = match text_of(path) {
        Ok(text) => text,
        Err(fault) => {
            inspection.faults.push(*fault);
            return inspection;
        }
    };
    let document = Document::parse(path, &text);
    if document.has_faults() {
        // What is not TOML has no keys to speak of: their lack would only hide the cause.
        inspection.faults = document.finish().0;
        return inspection;
    }
    let parts = read::settings(document.root(), path.parent().unwrap_or(Path::new("")));
    let (faults, places) = document.finish();
    (inspection.faults, inspection.places) = (faults, Some(places));
    let profiles = read_profiles(&parts.profiles, &mut inspection);
    inspection.settings = parts.with(profiles);
    inspection
}

fn read_profiles(files: &[PathBuf], inspection: &mut Inspection) -> Vec<Arc<Profile>> {
    let mut profiles: Vec<Arc<Profile>> = Vec::new();
    for file in files {
        let (profile, faults) = match text_of(file) {
            Ok(text) => read_profile(file, &text),
            Err(fault) => {
                let mend = "write the path of a profile, from this file's directory".to_owned();
                let problem = format!("`{}` {}", file.display(), fault.problem);
                inspection.add((Severity::Error, "FILE_MISSING"), "profiles", problem, mend);
                continue;
            }
        };
        inspection.faults.extend(faults);
        let Some(profile) = profile else { continue };
        if profiles.iter().any(|other| other.id == profile.id) {
            let problem = format!("`{}` is named by two files", profile.id);
            let mend = "leave one of them out".to_owned();
            inspection.add((Severity::Error, "WRONG_VALUE"), "profiles", problem, mend);
        }
        profiles.push(Arc::new(profile));
    }
    profiles
}

fn read_profile(path: &Path, text: &str) -> (Option<Profile>, Vec<Fault>) {
    let document = Document::parse(path, text);
    if document.has_faults() {
        return (None, document.finish().0);
    }
    let profile = profile::read(document.root());
    (profile, document.finish().0)
}

/// The text of a file, or the fault that it has none.
fn text_of(path: &Path) -> Result<String, Box<Fault>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes));
    let problem = match read {
        Err(error) => format!("cannot be read: {error}"),
        Ok(_) if bytes.len() as u64 > BYTES_MAX => "is longer than 1 MiB".to_owned(),
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => return Ok(text),
            Err(_) => "is not UTF-8 text".to_owned(),
        },
    };
    Err(Box::new(Fault {
        file: PathBuf::from(path),
        place: None,
        severity: Severity::Error,
        label: "UNREADABLE",
        key: String::new(),
        problem,
        mend: "give the path of a configuration; `relay-node init` makes one".into(),
    }))
}

/// A configuration has some hundred lines.
const BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests;

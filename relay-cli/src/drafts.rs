//! Messages that are not sent yet: files of this account alone, each a message file with the
//! request id of its first try in front.
//!
//! Enter through [`Drafts::of`]. Invariant: a request id is on disk before the node hears of it, so
//! that a draft is sent once however often it is submitted.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use relay_proto::ids::RequestId;

use crate::{context::Context, exit::Exit, failure::Failure, files};

/// The folder.
#[derive(Debug, Clone)]
pub struct Drafts {
    folder: PathBuf,
}

/// A draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Of its first try; none: the node has not heard of it.
    pub request_id: Option<RequestId>,
    /// The message file.
    pub text: String,
}

impl Drafts {
    /// Those of the account that runs this program.
    pub fn of(context: &Context) -> Result<Self, Failure> {
        let state = context.state_folder().ok_or_else(|| {
            Failure::new(Exit::Usage, "Neither HOME nor XDG_STATE_HOME names a folder for drafts.")
                .safe("nothing was done")
        })?;
        Ok(Self { folder: state.join("drafts") })
    }

    /// Where a draft lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{ENDING}"))
    }

    /// All names, sorted.
    pub fn names(&self) -> Result<Vec<String>, Failure> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&self.folder, &error)),
        };
        let mut names = Vec::new();
        for entry in entries.take(DRAFTS_MAX) {
            let name = entry.map_err(|error| failed(&self.folder, &error))?.file_name();
            names.extend(
                name.to_str().and_then(|name| name.strip_suffix(ENDING)).map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }

    /// A draft by its name.
    pub fn read(&self, name: &str) -> Result<Draft, Failure> {
        let text =
            files::read_text(&self.path(name), BYTES_MAX).map_err(|failure| {
                match failure.exit {
                    Exit::NotFound => {
                        Failure::new(Exit::NotFound, format!("There is no draft {name}."))
                            .safe("nothing was done")
                            .with_remedy("relay-cli draft list")
                            .with_remedy("was it sent? relay-cli outbox --all")
                    }
                    _ => failure,
                }
            })?;
        let first = text.lines().next().and_then(|line| line.strip_prefix(MARK));
        let request_id = first.and_then(|id| id.trim().parse().ok());
        let text = match request_id {
            Some(_) => text.split_once('\n').map_or("", |(_, rest)| rest).to_owned(),
            None => text,
        };
        Ok(Draft { request_id, text })
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Writes a draft as a whole, or leaves the old one.
    pub fn write(&self, name: &str, draft: &Draft) -> Result<(), Failure> {
        self.put(name, draft, false)
    }

    /// Writes a draft under a name that nobody uses, also in another terminal.
    pub fn make(&self, name: &str, draft: &Draft) -> Result<(), Failure> {
        self.put(name, draft, true)
    }

    fn put(&self, name: &str, draft: &Draft, is_new: bool) -> Result<(), Failure> {
        let path = self.path(name);
        let next = self.folder.join(format!("{name}{ENDING}.{}", std::process::id()));
        let write = || -> std::io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&next)?;
            if let Some(id) = draft.request_id {
                writeln!(file, "{MARK} {id}")?;
            }
            file.write_all(draft.text.as_bytes())?;
            file.sync_all()?;
            match is_new {
                // Unlike a renaming it takes nobody's place.
                true => fs::hard_link(&next, &path).and_then(|()| fs::remove_file(&next))?,
                false => fs::rename(&next, &path)?,
            }
            fs::File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| {
            // Left over where it did not get that far.
            let _ = fs::remove_file(&next);
            match error.kind() {
                ErrorKind::AlreadyExists => {
                    Failure::new(Exit::Conflict, format!("There is a draft {name}."))
                        .safe("nothing was changed")
                        .with_remedy(format!("relay-cli draft edit {name}"))
                }
                _ => failed(&path, &error),
            }
        })
    }

    /// Throws a draft away.
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(|error| failed(&path, &error))
    }

    /// A name that is free, beginning with this.
    pub fn free_name(&self, begin: &str) -> String {
        let numbered = (2..=DRAFTS_MAX).map(|number| format!("{begin}-{number}"));
        let mut names = std::iter::once(begin.to_owned()).chain(numbered);
        names.find(|name| !self.has(name)).unwrap_or_else(|| begin.to_owned())
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    let exit = match error.kind() {
        ErrorKind::PermissionDenied => Exit::Permission,
        _ => Exit::Attention,
    };
    Failure::new(exit, format!("{}: {error}.", path.display()))
}

/// Drafts are message files.
const ENDING: &str = ".json";

/// Before the request id, in the first line; a comment for whoever reads the file otherwise.
const MARK: &str = "// request id:";

/// As of message files.
const BYTES_MAX: u64 = 2 * 1024 * 1024;

/// More are not listed.
const DRAFTS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// What was written is read, id and all, by this account alone; a draft without an id is the
    /// file as it was.
    #[test]
    fn drafts_are_kept_for_this_account() {
        let dir = tempfile::tempdir().unwrap();
        let drafts = Drafts { folder: dir.path().join("a/drafts") };
        assert_eq!(drafts.names().unwrap(), Vec::<String>::new());
        assert_eq!(drafts.read("x").unwrap_err().exit, Exit::NotFound);
        let text = "// a comment\n{}\n".to_owned();
        let mut draft = Draft { request_id: None, text };
        drafts.write("x", &draft).unwrap();
        assert_eq!(drafts.read("x").unwrap(), draft);
        draft.request_id = Some(RequestId::random([7; 16]));
        drafts.write("x", &draft).unwrap();
        assert_eq!(drafts.read("x").unwrap(), draft);
        assert_eq!(drafts.names().unwrap(), ["x"]);
        assert_eq!(drafts.free_name("x"), "x-2");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&drafts.path("x")), mode(&drafts.folder)), (0o600, 0o700));
        let other = Draft { request_id: None, text: "another's".to_owned() };
        assert_eq!(drafts.make("x", &other).unwrap_err().exit, Exit::Conflict);
        assert_eq!(drafts.read("x").unwrap(), draft, "taken from another terminal");
        drafts.make("x-2", &other).unwrap();
        assert_eq!(fs::read_dir(&drafts.folder).unwrap().count(), 2, "something was left over");
        drafts.remove("x-2").unwrap();
        drafts.remove("x").unwrap();
        assert!(!drafts.has("x") && drafts.names().unwrap().is_empty());
    }
}

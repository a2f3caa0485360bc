//! `attachment list|get`: the files that go with a message.
//!
//! Invariant: a file is written where the caller says and nowhere else, never over another one
//! unless asked to, and appears there only whole and with the digest that the message states.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use relay_proto::{attachment::Hash, ids::Digest, v1};
use serde::Serialize;
use tonic::{Request, Status};

use super::{count, full};
use crate::{
    args::{AttachmentVerb, Which},
    client::Node,
    context::Context,
    exit::Exit,
    failure::{Failure, answer_lost},
    render::{Page, Table, bytes},
    report::Report,
    view::{MessageView, stated},
};

/// The attachments of a message.
#[derive(Debug, Clone, Serialize)]
pub struct ListReport {
    pub message: MessageView,
    pub attachments: Vec<AttachmentView>,
}

/// One of them, in its sender's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttachmentView {
    /// From 1.
    pub number: usize,
    pub name: String,
    pub media_type: String,
    pub size: u64,
    pub sha256: String,
    pub description: Option<String>,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct GetReport {
    pub message_id: String,
    pub attachment: AttachmentView,
    /// Where; the caller's word.
    pub path: String,
}

/// Asks the node.
pub async fn run(context: &Context, verb: AttachmentVerb) -> Result<Exit, Failure> {
    let node = context.node().await?;
    match verb {
        AttachmentVerb::List { id } => {
            let (message, attachments) = look(context, &node, &id).await?;
            context.printer().report(&ListReport { message, attachments })
        }
        AttachmentVerb::Get { id, which, out, force } => {
            let (message, attachments) = look(context, &node, &id).await?;
            let attachment = pick(&message, attachments, which)?;
            let message_id = message.message_id;
            get(context, &node, &message_id, &attachment, &out, force).await?;
            let path = out.display().to_string();
            context.printer().report(&GetReport { message_id, attachment, path })
        }
    }
}

async fn look(
    context: &Context,
    node: &Node,
    id: &str,
) -> Result<(MessageView, Vec<AttachmentView>), Failure> {
    let message = full(context, node, id).await?;
    let listed = message.payload.as_ref().map(|payload| payload.attachments.as_slice());
    let each = (1..).zip(listed.unwrap_or_default());
    let attachments = each.map(|(number, one)| AttachmentView::of(number, one)).collect();
    Ok((MessageView::from(&message), attachments))
}

impl AttachmentView {
    fn of(number: usize, one: &v1::Attachment) -> Self {
        let sha256 = Digest::from_bytes(&one.sha256).map(|digest| digest.to_string());
        Self {
            number,
            name: one.name.clone(),
            media_type: one.media_type.clone(),
            size: one.size,
            sha256: sha256.unwrap_or_default(),
            description: stated(&one.description),
        }
    }
}

fn pick(
    message: &MessageView,
    attachments: Vec<AttachmentView>,
    which: Which,
) -> Result<AttachmentView, Failure> {
    let number = attachments.len();
    let mut each = attachments.into_iter();
    let found = each.find(|one| match which {
        Which::Number(number) => one.number == number,
        Which::Sha256(digest) => one.sha256 == digest.to_string(),
    });
    found.ok_or_else(|| {
        let (short, number) = (&message.short_id, count(number, "attachment"));
        Failure::new(Exit::NotFound, format!("{short} has {number}, and not this one."))
            .safe("no file was written")
            .with_remedy(format!("relay-cli attachment list {short}"))
    })
}

/// Fetches the bytes into a file beside the wanted one, compares them, then gives it its name.
async fn get(
    context: &Context,
    node: &Node,
    message: &str,
    wanted: &AttachmentView,
    out: &Path,
    force: bool,
) -> Result<(), Failure> {
    // Told before anything is fetched; the last step decides.
    if !force && fs::symlink_metadata(out).is_ok() {
        return Err(exists(out));
    }
    let cannot = |error: &io::Error| cannot_write(out, error);
    let mut beside = Beside::create(out).map_err(|error| cannot(&error))?;
    let mut repeats = REPEATS_MAX;
    while beside.written < wanted.size {
        match fetch(node, &context.purpose(), message, wanted, &mut beside).await {
            Ok(()) => break,
            Err(Lost::Write(error)) => return Err(cannot(&error)),
            Err(Lost::Call(status)) if answer_lost(&status) && repeats > 0 => {
                repeats -= 1;
                context.printer().say("The connection was lost; going on where it was cut off.");
                tokio::time::sleep(REPEAT_WAIT).await;
            }
            Err(Lost::Call(status)) => {
                return Err(node.failure(&status).safe("no file was written"));
            }
        }
    }
    if beside.written != wanted.size || beside.hash.clone().finish().to_string() != wanted.sha256 {
        let what = "The node gave other bytes than those of the digest.";
        return Err(Failure::new(Exit::Invalid, what).safe("no file was written"));
    }
    beside.put(out, force).map_err(|error| cannot(&error))
}

enum Lost {
    Call(Status),
    Write(io::Error),
}

async fn fetch(
    node: &Node,
    purpose: &str,
    message: &str,
    wanted: &AttachmentView,
    beside: &mut Beside,
) -> Result<(), Lost> {
    let sha256 = wanted.sha256.parse::<Digest>().map(|digest| digest.as_bytes().to_vec());
    let request = v1::DownloadAttachmentRequest {
        name: message.to_owned(),
        sha256: sha256.unwrap_or_default().into(),
        offset: beside.written,
        purpose: purpose.to_owned(),
    };
    // Without a deadline of its own: it takes as long as it takes.
    let answer = node.attachments().download_attachment(Request::new(request)).await;
    let mut chunks = answer.map_err(Lost::Call)?.into_inner();
    while let Some(next) = chunks.message().await.map_err(Lost::Call)? {
        if beside.written.saturating_add(next.chunk.len() as u64) > wanted.size {
            let what = "the node gave more bytes than the message states";
            return Err(Lost::Call(Status::data_loss(what)));
        }
        beside.write(&next.chunk).map_err(Lost::Write)?;
    }
    Ok(())
}

/// A file that is being written beside the one that is wanted; it goes unless it is put there.
struct Beside {
    path: PathBuf,
    file: File,
    hash: Hash,
    written: u64,
}

impl Beside {
    fn create(out: &Path) -> io::Result<Self> {
        let name = out.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        // New, and for its owner alone; a link that lies there is not followed.
        let path = out.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, file, hash: Hash::default(), written: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Gives it its name, durably. A second name first, unless what is there may go: that fails
    /// where something is.
    fn put(self, out: &Path, force: bool) -> io::Result<()> {
        self.file.sync_all()?;
        match force {
            true => fs::rename(&self.path, out)?,
            false => fs::hard_link(&self.path, out)?,
        }
        let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After a rename there is nothing left of it.
        let _ = fs::remove_file(&self.path);
    }
}

fn exists(out: &Path) -> Failure {
    let what = format!("{} exists and is not overwritten.", out.display());
    Failure::new(Exit::Conflict, what)
        .safe("no file was changed")
        .with_remedy("choose another --out, or add --force")
}

fn cannot_write(out: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::AlreadyExists => return exists(out),
        io::ErrorKind::PermissionDenied => Exit::Permission,
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => Exit::Usage,
        _ => Exit::Attention,
    };
    let what = format!("Cannot write {}: {error}.", out.display());
    Failure::new(exit, what).safe("no file was written")
}

impl Report for ListReport {
    const VERB: &'static str = "attachment.list";

    fn people(&self, page: &mut Page) {
        let (short, number) = (&self.message.short_id, self.attachments.len());
        page.line(format!("{short} has {}", count(number, "attachment")));
        page.gap();
        let mut table = Table::new(&["N", "SIZE", "TYPE", "NAME"], 3);
        for one in &self.attachments {
            table.row([
                one.number.to_string(),
                bytes(one.size),
                one.media_type.clone(),
                one.name.clone(),
            ]);
        }
        page.table(&table);
        for one in &self.attachments {
            page.line(format!("{}  sha256 {}", one.number, one.sha256));
            if let Some(description) = &one.description {
                page.quote(description, 3);
            }
        }
        if number > 0 {
            page.gap();
            page.line(format!("To fetch one: relay-cli attachment get {short} 1 --out PATH"));
        }
    }
}

impl Report for GetReport {
    const VERB: &'static str = "attachment.get";

    fn people(&self, page: &mut Page) {
        let one = &self.attachment;
        page.line(format!("WRITTEN {} to {}", bytes(one.size), self.path));
        page.fact("NAME", &one.name);
        page.fact("TYPE", &one.media_type);
        page.fact("SHA256", &one.sha256);
    }
}

/// How often a broken download is gone on with.
const REPEATS_MAX: u32 = 5;
const REPEAT_WAIT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn beside(out: &Path) -> Beside {
        let mut beside = Beside::create(out).unwrap();
        beside.write(b"bytes").unwrap();
        beside
    }

    /// A file appears whole and under the caller's name alone; what is there stays, a link is not
    /// followed, and nothing is left beside it.
    #[test]
    fn written_where_the_caller_says() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        drop(beside(&out));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        beside(&out).put(&out, false).unwrap();
        assert_eq!(fs::read(&out).unwrap(), b"bytes");
        let again = beside(&out).put(&out, false).unwrap_err();
        assert_eq!(cannot_write(&out, &again).exit, Exit::Conflict);
        let (link, other) = (dir.path().join("link"), dir.path().join("other"));
        fs::write(&other, "mine").unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert!(beside(&link).put(&link, false).is_err());
        beside(&link).put(&link, true).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"mine");
        assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}

//! `--attach`: files are read once for their digests, listed in the message, and brought to the
//! node before it.
//!
//! Enter through [`prepare`], [`list`] and [`upload`]. Invariant: what is durable at the node is
//! not sent again; a file that changes meanwhile is refused by its digest.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use relay_proto::{
    attachment::{Hash, Item},
    v1,
};
use tonic::{Request, Status};

use crate::{
    args::Attach,
    client::Node,
    context::Context,
    exit::Exit,
    failure::{Failure, answer_lost},
};

/// A file that goes with a message.
#[derive(Debug, Clone)]
pub struct Prepared {
    file: PathBuf,
    item: Item,
    media_type: String,
}

/// Reads the files.
pub fn prepare(attach: &[Attach]) -> Result<Vec<Prepared>, Failure> {
    let each = attach.iter().map(|Attach { file, media_type }| {
        let item = digest_of(file).map_err(|error| unread(file, &error))?;
        if item.size == 0 {
            let what = format!("{} is empty: nothing is no attachment.", file.display());
            return Err(Failure::new(Exit::Faults, what).safe("nothing was sent"));
        }
        let media_type = media_type.clone().unwrap_or_else(|| by_ending(file).to_owned());
        Ok(Prepared { file: file.clone(), item, media_type })
    });
    each.collect()
}

/// Lists them in the message, after those that it lists already.
pub fn list(draft: &mut v1::Draft, files: &[Prepared]) {
    let Some(payload) = &mut draft.payload else { return };
    payload.attachments.extend(files.iter().map(|one| v1::Attachment {
        name: one.file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        media_type: one.media_type.clone(),
        size: one.item.size,
        sha256: one.item.sha256.as_bytes().to_vec().into(),
        description: String::new(),
    }));
}

/// Brings to the node what it has not.
pub async fn upload(context: &Context, node: &Node, files: &[Prepared]) -> Result<(), Failure> {
    for one in files {
        let mut wait = REPEAT_WAIT_MIN;
        let mut left = REPEATS_MAX;
        loop {
            match bring(node, one).await {
                Ok(()) => break,
                Err(Lost::For(failure)) => return Err(*failure),
                Err(Lost::Now(status)) if left == 0 => return Err(node.failure(&status)),
                Err(Lost::Now(_)) => {
                    context.printer().say(&format!(
                        "The connection was lost while {} was uploaded; going on where it was cut \
                         off.",
                        one.file.display()
                    ));
                    tokio::time::sleep(wait).await;
                    (wait, left) = (wait * 2, left - 1);
                }
            }
        }
    }
    Ok(())
}

/// Why an upload ended before its end.
enum Lost {
    /// The connection, so that it goes on.
    Now(Status),
    For(Box<Failure>),
}

async fn bring(node: &Node, one: &Prepared) -> Result<(), Lost> {
    let lost = |status: Status| match answer_lost(&status) {
        true => Lost::Now(status),
        false => {
            let failure = node.failure(&status).safe("nothing was sent");
            Lost::For(Box::new(failure))
        }
    };
    let (sha256, size) = (one.item.sha256.as_bytes().to_vec(), one.item.size);
    let request = v1::GetUploadRequest { sha256: sha256.clone().into(), size };
    let known = node.attachments().get_upload(node.request(request)).await.map_err(lost)?;
    let known = known.into_inner();
    if known.whole {
        return Ok(());
    }
    let offset = known.durable_bytes;
    let steps = steps(&one.file, v1::UploadBegin { sha256: sha256.into(), size, offset });
    let steps = steps.map_err(|error| Lost::For(Box::new(unread(&one.file, &error))))?;
    // Without a deadline of its own: it takes as long as it takes, and the node bounds a pause.
    let upload = Request::new(tokio_stream::iter(steps));
    let answers = node.attachments().upload_attachment(upload).await.map_err(lost)?;
    let mut answers = answers.into_inner();
    while let Some(answer) = answers.message().await.map_err(lost)? {
        if answer.whole {
            return Ok(());
        }
    }
    Err(Lost::Now(Status::unavailable("the upload ended without an answer")))
}

/// The steps of an upload; a file that cannot be read on ends them, and the node tells.
fn steps(
    file: &Path,
    begin: v1::UploadBegin,
) -> io::Result<impl Iterator<Item = v1::UploadAttachmentRequest> + Send + 'static> {
    use v1::upload_attachment_request::Step;
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(begin.offset))?;
    let chunks = std::iter::from_fn(move || {
        let mut chunk = Vec::with_capacity(PIECE_BYTES);
        let read = file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut chunk).ok()?;
        (read > 0).then(|| Step::Chunk(chunk.into()))
    });
    let steps = std::iter::once(Step::Begin(begin)).chain(chunks);
    Ok(steps.map(|step| v1::UploadAttachmentRequest { step: Some(step) }))
}

fn digest_of(file: &Path) -> io::Result<Item> {
    let mut file = File::open(file)?;
    let (mut hash, mut size) = (Hash::default(), 0);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(Item { sha256: hash.finish(), size });
        }
        hash.update(piece.get(..read).unwrap_or_default());
        size += read as u64;
    }
}

fn unread(file: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        io::ErrorKind::PermissionDenied => Exit::Permission,
        _ => Exit::Usage,
    };
    let what = format!("Cannot read {}: {error}.", file.display());
    Failure::new(exit, what).safe("nothing was sent")
}

/// The media type that the ending of a name stands for.
fn by_ending(file: &Path) -> &'static str {
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let ending = ending.to_ascii_lowercase();
    let found = ENDINGS.iter().find(|(known, _)| *known == ending);
    found.map_or("application/octet-stream", |(_, media_type)| media_type)
}

const ENDINGS: [(&str, &str); 10] = [
    ("csv", "text/csv"),
    ("eml", "message/rfc822"),
    ("html", "text/html"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("pcap", "application/vnd.tcpdump.pcap"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("txt", "text/plain"),
    ("zip", "application/zip"),
];

/// Sent at once; the node takes twice as much.
const PIECE_BYTES: usize = 128 << 10;

/// How often a broken upload is gone on with.
const REPEATS_MAX: u32 = 6;

/// The first wait; it doubles.
const REPEAT_WAIT_MIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Name, type, size and digest are those of the file; an empty one, and one that is not there,
    /// are refused.
    #[test]
    fn files_are_listed_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Notes.PDF");
        std::fs::write(&path, vec![7; 300_000]).unwrap();
        let attach = |file: &Path| Attach { file: file.to_owned(), media_type: None };
        let files = prepare(&[attach(&path)]).unwrap();
        let mut draft = v1::Draft { payload: Some(v1::Payload::default()), ..Default::default() };
        list(&mut draft, &files);
        let listed = draft.payload.unwrap().attachments;
        let [one] = listed.as_slice() else { unreachable!("{listed:?}") };
        assert_eq!((one.name.as_str(), one.size), ("Notes.PDF", 300_000));
        assert_eq!(one.media_type, "application/pdf");
        assert_eq!(one.sha256, relay_proto::ids::Digest::of(&[7; 300_000]).as_bytes()[..]);
        let begin = v1::UploadBegin { offset: 250_000, ..Default::default() };
        let steps: Vec<_> = steps(&path, begin).unwrap().collect();
        let [_, v1::UploadAttachmentRequest { step: Some(rest) }] = steps.as_slice() else {
            unreachable!("{steps:?}")
        };
        let whole = v1::upload_attachment_request::Step::Chunk(vec![7; 50_000].into());
        assert_eq!(*rest, whole);
        std::fs::write(&path, "").unwrap();
        assert_eq!(prepare(&[attach(&path)]).unwrap_err().exit, Exit::Faults);
        let gone = prepare(&[attach(&dir.path().join("gone"))]);
        assert_eq!(gone.unwrap_err().exit, Exit::NotFound);
    }
}

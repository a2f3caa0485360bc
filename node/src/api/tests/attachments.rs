//! Attachments: uploaded, resumed, listed, fetched; refused by name.

use bytes::Bytes;
use relay_proto::{
    ids::Digest,
    reason::Reason,
    v1::{self, upload_attachment_request::Step},
};
use tonic::{Code, Status};

use super::{
    fixture::{Node, request},
    told,
};

fn file() -> Bytes {
    (0..700_000u32).map(|at| (at / 7) as u8).collect::<Vec<u8>>().into()
}

fn begin(sha256: &Digest, size: u64, offset: u64) -> Step {
    let sha256 = Bytes::copy_from_slice(sha256.as_bytes());
    Step::Begin(v1::UploadBegin { sha256, size, offset })
}

/// All answers of an upload.
async fn upload(node: &Node, steps: Vec<Step>) -> Result<Vec<v1::Upload>, Status> {
    let steps = steps.into_iter().map(|step| v1::UploadAttachmentRequest { step: Some(step) });
    let steps = tokio_stream::iter(steps.collect::<Vec<_>>());
    let mut answers = node.attachments().upload_attachment(steps).await?.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await? {
        all.push(answer);
    }
    Ok(all)
}

async fn durable(node: &Node, sha256: &Digest, size: u64) -> Result<(u64, bool), Status> {
    let sha256 = Bytes::copy_from_slice(sha256.as_bytes());
    let asked = v1::GetUploadRequest { sha256, size };
    let answer = node.attachments().get_upload(asked).await?.into_inner();
    Ok((answer.durable_bytes, answer.whole))
}

async fn download(
    node: &Node,
    name: &str,
    sha256: &Digest,
    offset: u64,
) -> Result<Vec<u8>, Status> {
    let sha256 = Bytes::copy_from_slice(sha256.as_bytes());
    let asked = v1::DownloadAttachmentRequest {
        name: name.to_owned(),
        sha256,
        offset,
        purpose: "a test".to_owned(),
    };
    let mut chunks = node.attachments().download_attachment(asked).await?.into_inner();
    let mut all = Vec::new();
    while let Some(next) = chunks.message().await? {
        all.extend_from_slice(&next.chunk);
    }
    Ok(all)
}

fn listing(n: u32, sha256: &Digest, size: u64) -> v1::SendMessageRequest {
    let mut request = request(n, &["xb.ncu"]);
    let payload = request.draft.as_mut().unwrap().payload.as_mut().unwrap();
    payload.attachments = vec![v1::Attachment {
        name: "notes.txt".to_owned(),
        media_type: "text/plain".to_owned(),
        size,
        sha256: Bytes::copy_from_slice(sha256.as_bytes()),
        description: String::new(),
    }];
    request
}

/// What is not here is not sent; an upload that was cut off goes on where it is durable; then the
/// message is taken, and the file is given to whoever names that message, from any offset on.
#[tokio::test]
async fn a_file_comes_before_its_message() {
    let (a, b) = (Node::start("xa.cyber-poc").await, Node::start("xb.ncu").await);
    a.trust(&b).await;
    let (all, size) = (file(), file().len() as u64);
    let sha256 = Digest::of(&all);
    let error = a.messages().send_message(listing(1, &sha256, size)).await.unwrap_err();
    let field = vec!["draft.payload.attachments[0]".to_owned()];
    assert_eq!(told(&error), (Code::FailedPrecondition, Reason::AttachmentMissing, field));

    let first = vec![begin(&sha256, size, 0), Step::Chunk(all.slice(..200_000))];
    let cut = upload(&a, first).await.unwrap_err();
    assert_eq!(told(&cut).1, Reason::FailedPrecondition);
    assert_eq!(durable(&a, &sha256, size).await.unwrap(), (200_000, false));
    let wrong = upload(&a, vec![begin(&sha256, size, 7)]).await.unwrap_err();
    let field = vec!["offset".to_owned()];
    assert_eq!(told(&wrong), (Code::FailedPrecondition, Reason::FailedPrecondition, field));
    let rest = vec![
        begin(&sha256, size, 200_000),
        Step::Chunk(all.slice(200_000..400_000)),
        Step::Chunk(all.slice(400_000..650_000)),
        Step::Chunk(all.slice(650_000..)),
    ];
    let answers = upload(&a, rest).await.unwrap();
    let told: Vec<_> = answers.iter().map(|answer| (answer.durable_bytes, answer.whole)).collect();
    assert_eq!(told, [(200_000, false), (size, true)]);
    assert_eq!(durable(&a, &sha256, size).await.unwrap(), (size, true));
    let again = upload(&a, vec![begin(&sha256, size, 0)]).await.unwrap();
    assert!(again.len() == 1 && again[0].whole);

    let sent = a.messages().send_message(listing(1, &sha256, size)).await.unwrap().into_inner();
    let name = sent.message.unwrap().name;
    assert_eq!(download(&a, &name, &sha256, 0).await.unwrap(), all);
    assert_eq!(download(&a, &name, &sha256, 300_000).await.unwrap(), all.slice(300_000..));
    assert!(download(&a, &name, &sha256, size).await.unwrap().is_empty());
    a.stop().await;
    b.stop().await;
}

/// Other bytes, more bytes, an empty or too large file, a piece over the limit, another message's
/// file: each is refused by its name, and nothing of it stays.
#[tokio::test]
async fn wrong_files_are_refused() {
    let (a, b) = (Node::start("xa.cyber-poc").await, Node::start("xb.ncu").await);
    a.trust(&b).await;
    let all = file();
    let sha256 = Digest::of(b"hello");
    for wrong in ["hellx", "hello!"] {
        let chunk = Step::Chunk(Bytes::copy_from_slice(wrong.as_bytes()));
        let error = upload(&a, vec![begin(&sha256, 5, 0), chunk]).await.unwrap_err();
        assert_eq!(told(&error), (Code::InvalidArgument, Reason::AttachmentMismatch, vec![]));
        assert_eq!(durable(&a, &sha256, 5).await.unwrap(), (0, false));
    }
    let long = vec![begin(&sha256, 700_000, 0), Step::Chunk(all.slice(..300_000))];
    assert_eq!(told(&upload(&a, long).await.unwrap_err()).1, Reason::TooLarge);
    for (size, reason) in [
        (0, Reason::InvalidContent),
        (64 << 20, Reason::Internal),
        ((64 << 20) + 1, Reason::TooLarge),
    ] {
        let asked = durable(&a, &sha256, size).await;
        match asked {
            Ok(_) => assert_eq!(reason, Reason::Internal),
            Err(error) => {
                let fields = vec!["size".to_owned()];
                assert_eq!(told(&error), (Code::InvalidArgument, reason, fields));
            }
        }
    }
    let unbegun = upload(&a, vec![Step::Chunk(all.slice(..9))]).await.unwrap_err();
    assert_eq!(told(&unbegun).1, Reason::Malformed);

    let chunk = Step::Chunk(Bytes::from_static(b"hello"));
    upload(&a, vec![begin(&sha256, 5, 0), chunk]).await.unwrap();
    let other = a.messages().send_message(request(2, &["xb.ncu"])).await.unwrap().into_inner();
    let error = download(&a, &other.message.unwrap().name, &sha256, 0).await.unwrap_err();
    assert_eq!(told(&error), (Code::NotFound, Reason::NotFound, vec![]));
    // The digest is right and the size is a claim.
    let claimed = a.messages().send_message(listing(3, &sha256, 6)).await.unwrap_err();
    assert_eq!(told(&claimed).1, Reason::AttachmentMissing);
    let sent = a.messages().send_message(listing(3, &sha256, 5)).await.unwrap().into_inner();
    let name = sent.message.unwrap().name;
    let behind = download(&a, &name, &sha256, 6).await.unwrap_err();
    assert_eq!(told(&behind).2, ["offset"]);
    a.stop().await;
    b.stop().await;
}

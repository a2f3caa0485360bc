//! Requests and evidence as papers: where they are written, what is refused, how it ends.

use std::{fs, path::Path};

use relay_proto::v1;

use crate::{
    desk::message,
    fake::{Fake, Script, end, program},
};

fn request() -> v1::Message {
    let body = v1::PreservationRequest { facts: "brief facts".into(), ..Default::default() };
    let body = v1::payload::Body::PreservationRequest(body);
    let payload = v1::Payload { body: Some(body), ..Default::default() };
    v1::Message { kind: v1::Kind::PreservationRequest.into(), payload: Some(payload), ..message() }
}

/// The bundle of the test vectors, as the file that it is.
fn bundle() -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/evidence.hex");
    let text = fs::read_to_string(file).unwrap();
    let hex = text.trim().strip_prefix("file: ").unwrap();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// A new file in either format, or stdout; a file that is there stays as it is; what has no form
/// gets none.
#[tokio::test]
async fn requests_become_papers() {
    let fake = Fake::start(Script { message: Some(request()), ..Default::default() }).await;
    let dir = tempfile::tempdir().unwrap();
    for (format, begin) in [("html", "<!DOCTYPE html>"), ("pdf", "%PDF-1.7")] {
        let file = dir.path().join(format!("request.{format}"));
        let line = format!("show 4D2P-F2DB --format {format} --out {}", file.display());
        let ended = fake.run(&line).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.starts_with("WRITTEN preservation-request of 4D2P-F2DB"), "{ended:?}");
        assert!(fs::read(&file).unwrap().starts_with(begin.as_bytes()), "{format}");
        fs::write(&file, "mine").unwrap();
        let ended = fake.run(&line).await;
        assert_eq!(ended.code, Some(16), "{ended:?}");
        assert!(ended.err.contains("another file with --out"), "{ended:?}");
        assert_eq!(fs::read(&file).unwrap(), b"mine");
    }
    let ended = fake.run("show 4D2P-F2DB --format html").await;
    assert!(ended.code == Some(0) && ended.out.starts_with("<!DOCTYPE html>"), "{ended:?}");
    assert!(ended.out.ends_with("</html>\n") && ended.out.contains("brief facts"));
    let ended = fake.run("show 4D2P-F2DB --format html --json").await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    fake.script.lock().unwrap().message = Some(message());
    let file = dir.path().join("alert.html");
    let line = format!("show 4D2P-F2DB --format html --out {}", file.display());
    let ended = fake.run(&line).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("no preservation request") && !file.exists(), "{ended:?}");
}

/// The exit status is that of the judgement; what does not verify leaves no file, and says why.
#[tokio::test]
async fn only_sound_evidence_has_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.relayev");
    fs::write(&file, bundle()).unwrap();
    let line = |out: &str, more: &str| {
        let (file, out) = (file.display(), dir.path().join(out));
        program(&format!("evidence verify {file} --format pdf --out {} {more}", out.display()))
    };
    let ended = end(line("sound.pdf", "--json")).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.json()["schema"], "relay.cli.paper/1");
    assert_eq!(ended.json()["verdict"], "CONSISTENT");
    assert!(fs::read(dir.path().join("sound.pdf")).unwrap().starts_with(b"%PDF-1.7"));
    // In the receipt's proof, and in the file's first line.
    let sound = bundle();
    let proof = sound.windows(8).position(|window| window == b"xb.ncu/l").unwrap();
    for place in [proof + 20, 3] {
        let mut bytes = sound.clone();
        bytes[place] ^= 1;
        fs::write(&file, bytes).unwrap();
        let ended = end(line("broken.pdf", "")).await;
        assert_eq!(ended.code, Some(14), "{ended:?}");
        assert!(ended.out.starts_with("INVALID"), "{ended:?}");
        assert!(ended.err.contains("No certificate was made"), "{ended:?}");
        assert!(!dir.path().join("broken.pdf").exists());
    }
}

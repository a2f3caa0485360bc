//! A person at a terminal: lines that are typed, and whatever else waits for one.
//!
//! The only file of this package that starts a thread: reading a terminal blocks, and Ctrl-C has to
//! be heard meanwhile.

use std::io::Write as _;

use crate::{exit::Exit, failure::Failure};

/// Runs what waits for a person on a thread of its own. It is left behind when the program ends.
pub async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let (send, receive) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Nobody waits any more when the program is ending.
        drop(send.send(work()));
    });
    receive.await.map_err(|_| no_answer())
}

/// One line typed by a person. The question goes to stderr: stdout is for results.
pub async fn ask(question: &str) -> Result<String, Failure> {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{question}").and_then(|()| stderr.flush());
    drop(stderr);
    let read = apart(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    match read.await? {
        Ok(line) => Ok(line.trim().to_owned()),
        Err(_) => Err(no_answer()),
    }
}

fn no_answer() -> Failure {
    Failure::new(Exit::Usage, "No answer could be read.").safe("nothing was changed")
}

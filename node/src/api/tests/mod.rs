//! Calls over a real socket to a node without a link.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod access;
mod approvals;
mod attachments;
mod fixture;
mod peers;
mod reading;
mod sending;
mod serving;

use relay_proto::reason::Reason;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The code, the label and the fields of an error.
fn told(status: &Status) -> (Code, Reason, Vec<String>) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.domain, "relay.v1");
    let fields = details.bad_request().map(|bad| &bad.field_violations);
    let fields = fields.into_iter().flatten().map(|violation| violation.field.clone());
    (status.code(), info.reason.parse().unwrap(), fields.collect())
}

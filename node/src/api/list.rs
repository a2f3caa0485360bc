//! Lists of messages through a filter, in pages.

use relay_proto::v1;

use super::{
    Service,
    access::Caller,
    args,
    filter::{self, Query},
    status::Problem,
    token,
};
use crate::store::records::MessageRecord;

impl Service {
    /// One page. The work for one is bounded: a page may be short and still have a next one.
    pub(super) fn page(
        &self,
        caller: &Caller,
        request: &v1::ListMessagesRequest,
    ) -> Result<v1::ListMessagesResponse, Problem> {
        let query = filter::parse(&request.filter)?;
        let size = args::page_size(request.page_size)?;
        let place = token::read(&request.filter, &request.page_token)?;
        let store = self.relay().store();
        let mut next = place;
        let mut messages = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let listed =
                store.list(&query.filter, next.as_deref(), size.saturating_sub(messages.len()))?;
            next = listed.next;
            for record in &listed.messages {
                if self.passes(&query, record)? && self.sees(caller, record)? {
                    messages.push(self.message(record, v1::MessageView::Basic)?);
                }
            }
            if next.is_none() || messages.len() >= size {
                break;
            }
        }
        let next = next.map(|place| token::write(&request.filter, &place));
        Ok(v1::ListMessagesResponse { messages, next_page_token: next.unwrap_or_default() })
    }

    /// What the store's filter cannot say: the state of the delivery to one peer, and what is in
    /// flight.
    fn passes(&self, query: &Query, record: &MessageRecord) -> Result<bool, Problem> {
        let Some(state) = query.state else { return Ok(true) };
        let entries = self.relay().store().entries(&record.digest())?;
        Ok(entries.iter().any(|entry| {
            let to_peer = query.filter.peer.as_ref().is_none_or(|peer| {
                // Our own unit as `peer` means all that we sent.
                entry.recipient == *peer || record.from == *peer
            });
            to_peer && self.delivery_state(entry) == state
        }))
    }
}

/// How often the store is asked for one page. Between two the writer goes on.
const ROUNDS_MAX: usize = 40;

//! What this node says of itself to a peer.

use std::sync::Weak;

use relay_proto::{ids::UnitId, v1};

use super::Context;
use crate::link::HelloSource;

/// Fills Hellos from the store, the log and the clock. The relay holds the link, and the link this:
/// a strong reference would keep both, and the link's socket, for ever.
pub(super) struct Hellos(pub Weak<Context>);

impl HelloSource for Hellos {
    fn hello_for(&self, peer: &UnitId) -> v1::Hello {
        // Without a relay there is nothing to say; the other side closes on an empty Hello.
        let Some(ctx) = self.0.upgrade() else { return v1::Hello::default() };
        let store = &ctx.parts.store;
        let count = |name| store.counter(name, peer).unwrap_or_default();
        let held = ctx.parts.directory.snapshot().peer(peer).and_then(|known| {
            // The newest of which anything is held: a store that is older than the others is told.
            let mut logs: Vec<_> = known.card.logs().iter().map(|log| &log.origin).collect();
            logs.sort_by_key(|origin| std::cmp::Reverse(origin.generation));
            logs.into_iter().find_map(|origin| store.held_checkpoint(origin).ok().flatten())
        });
        let time = ctx.time();
        v1::Hello {
            software: ctx.parts.software.clone(),
            card_number: ctx.parts.directory.own().number(),
            now_ms: time.now.as_millis(),
            clock: Some(time.state),
            own_checkpoint: ctx.parts.tlog.newest_note(),
            held_checkpoint: held.map(|held| held.note).unwrap_or_default(),
            heads: Some(v1::Heads {
                transfers_made: count("transfers-made"),
                transfers_contiguous: store.transfers_in(peer).unwrap_or_default().contiguous,
                receipts_made: count("receipts-made"),
                receipts_have: count("receipts-have"),
            }),
            limits: Some(v1::Limits {
                frame_bytes_max: 0,
                window_messages: u32::try_from(ctx.parts.limits.outbox.window_messages)
                    .unwrap_or(u32::MAX),
                window_bytes: u32::try_from(ctx.parts.limits.outbox.window_bytes)
                    .unwrap_or(u32::MAX),
            }),
            ..Default::default()
        }
    }
}

//! Frames of a peer, in each place where one may stand.

use bytes::Bytes;
use relay_node::link::{Direction, Lane, read_frame};
use relay_proto::ids::NodeId;

/// The first byte says on which half of which lane the frame stands, and whether the session is up.
pub fn frame(bytes: &[u8]) -> bool {
    let Some((place, rest)) = bytes.split_first() else { return false };
    let peer: NodeId = "xb.ncu/a".parse().expect("a node");
    let frame = Bytes::copy_from_slice(rest);
    let lane = Lane::ALL.get(usize::from(place % 4)).copied().unwrap_or(Lane::Control);
    let direction = if place & 4 == 0 { Direction::Forward } else { Direction::Reverse };
    let place = (place & 8 != 0).then_some((lane, direction));
    match read_frame(&frame, place, &peer) {
        Ok(_) => true,
        Err(closed) => {
            assert!(!closed.text.is_empty() && closed.text.is_ascii(), "a peer is told why");
            false
        }
    }
}

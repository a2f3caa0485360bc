//! Every maximum on the wire, each with its reason. A value over a limit is refused before memory
//! is spent on it.

use std::time::Duration;

/// Longest frame on a lane: the largest payload bucket, a header for 256 recipients and their
/// wraps.
pub const FRAME_BYTES_MAX: usize = 512 * 1024;

/// Longest header: 256 recipients of 37 characters are 10 KiB.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Longest payload as it travels: the largest bucket. Larger things are attachments.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// Most attachments of one message, whatever its profile says; the list fits an offer.
pub const ATTACHMENTS_MAX: usize = 64;

/// Largest attachment, whatever the profile says: an hour of a slow link.
pub const ATTACHMENT_BYTES_MAX: u64 = 1 << 30;

/// Longest frame that offers an attachment: a header and the list.
pub const OFFER_BYTES_MAX: usize = 32 * 1024;

/// Longest frame with bytes of an attachment, and longest piece of one in the local API: a stream's
/// window holds four.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Longest card: a unit's names, keys, nodes and logs over ten years of rotations.
pub const CARD_BYTES_MAX: usize = 64 * 1024;

/// Most nodes on a unit's card: each of them may have a session, and what one session may hold in
/// memory is bounded.
pub const CARD_NODES_MAX: usize = 8;

/// Longest receipt statement; a plain one has some 300 bytes.
pub const STATEMENT_BYTES_MAX: usize = 2 * 1024;

/// Longest succession of a log: its claims and a reason of one line.
pub const SUCCESSION_BYTES_MAX: usize = 8 << 10;

/// Most claims of a succession; the largest one says where the old log ends.
pub const SUCCESSION_CLAIMS_MAX: usize = 32;

/// Longest signed note: three lines and sixteen signatures.
pub const NOTE_BYTES_MAX: usize = 16 * 1024;

/// Most signature lines of a note that are read (C2SP signed-note allows a verifier to set a
/// limit).
pub const NOTE_SIGNATURES_MAX: usize = 16;

/// Longest Merkle path: a tree of 2^63 leaves.
pub const PATH_HASHES_MAX: usize = 63;

/// Longest consistency proof: twice a path.
pub const CONSISTENCY_HASHES_MAX: usize = 126;

/// Longest control frame (Hello, groups of receipts).
pub const CONTROL_BYTES_MAX: usize = 256 * 1024;

/// Most receipts in one group; at 700 bytes each they fit a control frame.
pub const RECEIPTS_PER_GROUP_MAX: usize = 256;

/// Longest evidence bundle: a payload, 256 recipients with some ten receipts each.
pub const BUNDLE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest purpose for which content is read, in characters: one line of the audit log.
pub const PURPOSE_CHARS_MAX: usize = 200;

/// Most recipients of one message; 195 units are the largest network there is.
pub const RECIPIENTS_MAX: usize = 256;

/// Most hops of a message: own node, national hub, network hub, national hub.
pub const HOPS_MAX: u32 = 8;

/// Deepest nesting of a wire message; the deepest legal one has six levels.
pub const DEPTH_MAX: usize = 10;

/// Most fields in one wire message, all levels together: a bomb of empty elements costs no memory.
pub const FIELDS_MAX: usize = 8 * 1024;

/// Most fields in an evidence bundle: 256 recipients with ten receipts each, whose paths have up to
/// 63 hashes, and a card of every unit; a bomb costs some 40 MiB of the verifying program.
pub const BUNDLE_FIELDS_MAX: usize = 256 * 1024;

/// Most extensions of a closed message.
pub const EXTENSIONS_MAX: usize = 8;

/// Size buckets that a payload's size is told in, so that a carrier learns little from it.
pub const PAYLOAD_BUCKETS: [usize; 8] =
    [1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, PAYLOAD_BYTES_MAX];

/// Random bytes before every payload: no digest of it can be guessed, also after erasure.
pub const PAYLOAD_SALT_BYTES: usize = 32;

/// Random bytes in every receipt statement.
pub const STATEMENT_SALT_BYTES: usize = 16;

/// Shortest lifetime of a message: less cannot cross a link that is being dialled again.
pub const LIFETIME_MIN: Duration = Duration::from_secs(5 * 60);

/// Longest lifetime of a message: nothing waits longer in an outbox.
pub const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How far ahead of the receiver's clock a message may be dated, besides both clocks' bounds.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5 * 60);

/// Title of an alert, characters.
pub const TITLE_CHARS_MAX: usize = 200;

/// Summary, facts and other long texts, characters.
pub const TEXT_CHARS_MAX: usize = 20_000;

/// Any other text of a payload, characters.
pub const LINE_CHARS_MAX: usize = 500;

/// Items of a preservation request: what a case keeps of its messages is kept in every row of it.
pub const ITEMS_MAX: usize = 250;

/// Longest id of an item, bytes.
pub const ITEM_ID_BYTES_MAX: usize = 64;

/// Elements of any list in a payload.
pub const LIST_MAX: usize = 1_000;

/// Longest `--by`: a name and a rank.
pub const ACTOR_CHARS_MAX: usize = 200;

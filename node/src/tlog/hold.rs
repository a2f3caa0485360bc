//! Why a log signs nothing for now.
//!
//! A log whose store was set back must not sign: what it would sign contradicts what it signed
//! before. Messages are taken all the same, their receipts wait. Invariant: only
//! [`Hold::Restored`] ends by itself, when every unit was heard that the store knew when it was put
//! in place: it may know of what is lost, whatever the operator thinks of it since. All others end
//! with a new generation of the log, made by `relay-node log succeed`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use relay_proto::ids::{LogOrigin, UnitId};

/// Why a log signs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// More or other leaves were signed than the store has.
    Behind {
        /// Who knows of them.
        witness: Witness,
        /// The size that was signed.
        signed: u64,
        /// The size that is here.
        here: u64,
    },
    /// There is an anchor file that says nothing. Whoever knows more takes its place.
    Unreadable(PathBuf),
    /// A later generation signed already, or the card names a log that the store never had.
    OtherGeneration(LogOrigin),
    /// The store came out of a backup.
    Restored {
        /// Who has to be heard. Nobody: then nobody can say what was signed, and it does not end.
        awaited: BTreeSet<String>,
        /// Who was heard, and knows of nothing that is lost.
        heard: BTreeSet<UnitId>,
        /// Who was heard and says otherwise. It is his word only, so that it proves nothing; but
        /// nothing is signed against it.
        doubts: BTreeMap<UnitId, Doubt>,
    },
}

/// What a peer says that a store which lacks nothing would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// He holds a checkpoint of a later generation of the log.
    Later(LogOrigin),
    /// He has receipts that the store never made.
    Receipts,
}

impl Hold {
    /// A unit was heard. Whether the restored store may sign: all were heard whom it knew when it
    /// was put in place, and those that are verified by now, and none of them doubts it.
    pub(super) fn heard(
        &mut self,
        unit: &UnitId,
        doubt: Option<Doubt>,
        verified: &[UnitId],
    ) -> bool {
        let Self::Restored { awaited, heard, doubts } = self else { return false };
        match doubt {
            Some(doubt) => {
                heard.remove(unit);
                doubts.insert(unit.clone(), doubt);
            }
            // What was said once in this run stays said: messages that are taken meanwhile make
            // numbers grow past those that were lost, and another node of the unit may know less.
            None if doubts.contains_key(unit) => {}
            None => {
                heard.insert(unit.clone());
            }
        }
        let names: BTreeSet<&str> = heard.iter().map(UnitId::as_str).collect();
        doubts.is_empty()
            && !awaited.is_empty()
            && awaited.iter().all(|unit| names.contains(unit.as_str()))
            && verified.iter().all(|unit| heard.contains(unit))
    }
}

/// Who knows of a checkpoint of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// The journal itself.
    Journal,
    /// The anchor file.
    Anchor(PathBuf),
    /// A peer that holds a note with our own signature.
    Peer(String),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { witness, signed, here } => {
                match witness {
                    Witness::Journal => f.write_str("the journal's own anchor")?,
                    Witness::Anchor(path) => write!(f, "the anchor `{}`", path.display())?,
                    Witness::Peer(unit) => write!(f, "{unit}")?,
                }
                if signed > here {
                    write!(f, " shows that size {signed} was signed and the store has {here}")?;
                } else {
                    write!(f, " shows that size {signed} was signed with another root")?;
                }
                write!(f, ": the store was set back. {SUCCEED}")
            }
            Self::Unreadable(path) => write!(
                f,
                "the anchor `{}` cannot be read: it is damaged, which says nothing of the store. \
                 Compare the log with what a peer holds of it; if nothing set the store back, \
                 stop the node, remove that file and start again (ANCHOR_MISSING then)",
                path.display()
            ),
            Self::OtherGeneration(origin) => {
                write!(f, "{origin} signed and the store does not have it: set back. {SUCCEED}")
            }
            Self::Restored { awaited, .. } if awaited.is_empty() => write!(
                f,
                "the store was restored and knew no verified peer: nobody can say what was \
                 signed. {SUCCEED}"
            ),
            Self::Restored { doubts, .. } if !doubts.is_empty() => {
                f.write_str("the store was restored")?;
                for (unit, doubt) in doubts.iter().take(SHOWN_MAX) {
                    match doubt {
                        Doubt::Later(origin) => write!(
                            f,
                            "; {unit} holds {origin}, which this card does not name: put the \
                             newest card and the keys that came with it in place first"
                        )?,
                        Doubt::Receipts => {
                            write!(f, "; {unit} has receipts that this store never made")?;
                        }
                    }
                }
                write!(f, ". {SUCCEED}")
            }
            Self::Restored { awaited, heard, .. } => {
                let heard: BTreeSet<&str> = heard.iter().map(UnitId::as_str).collect();
                let missing = awaited.iter().filter(|unit| !heard.contains(unit.as_str()));
                let missing: Vec<&str> = missing.map(String::as_str).collect();
                let shown = missing.get(..SHOWN_MAX).unwrap_or(&missing);
                f.write_str("the store was restored: it waits to hear ")?;
                match missing.is_empty() {
                    true => f.write_str("every peer that was verified since")?,
                    false => f.write_str(&shown.join(", "))?,
                }
                if missing.len() > shown.len() {
                    write!(f, " and {} more", missing.len() - shown.len())?;
                }
                write!(f, "; suspending or removing a peer changes nothing. {SUCCEED}")
            }
        }
    }
}

/// Units that are named in a line.
const SHOWN_MAX: usize = 8;

/// What helps.
const SUCCEED: &str = "Peers that stay away, or leaves that are lost: stop the node, then \
                       relay-node log succeed --config FILE --reason TEXT --by NAME --by NAME";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// All whom the store knew and all who are verified by now must have been heard; whoever
    /// doubted it once keeps it from signing, whatever he says later.
    #[test]
    fn a_restored_log_waits_and_heeds_doubts() {
        let [xa, xb, xc]: [UnitId; 3] = ["xa.ncu", "xb.ncu", "xc.ncu"].map(|u| u.parse().unwrap());
        let awaited = BTreeSet::from([xb.to_string()]);
        let (heard, doubts) = (BTreeSet::new(), BTreeMap::new());
        let start = Hold::Restored { awaited, heard, doubts };

        let mut hold = start.clone();
        assert!(!hold.heard(&xc, None, &[xb.clone(), xc.clone()]));
        assert!(hold.heard(&xb, None, &[xb.clone(), xc.clone()]));
        let mut hold = start.clone();
        assert!(!hold.heard(&xb, None, &[xb.clone(), xc.clone()]), "verified since, not heard");

        for doubt in [Doubt::Receipts, Doubt::Later(xa.log_origin(2))] {
            let mut hold = start.clone();
            assert!(!hold.heard(&xb, Some(doubt.clone()), &[]));
            assert!(!hold.heard(&xb, None, &[]));
            let text = hold.to_string();
            assert!(text.contains("xb.ncu") && text.contains("relay-node log succeed"), "{text}");
            let mut hold = start.clone();
            assert!(!hold.heard(&xc, Some(doubt), &[]));
            assert!(!hold.heard(&xb, None, &[]), "nobody's doubt is passed over");
        }

        let nobody = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let (awaited, heard, doubts) = nobody;
        assert!(!Hold::Restored { awaited, heard, doubts }.heard(&xb, None, &[]));
        assert!(!Hold::OtherGeneration(xa.log_origin(2)).heard(&xb, None, &[]));
    }
}

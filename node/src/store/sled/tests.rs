//! What survives, what is set aside, and that nobody sees whether a pair stands in a row.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::row::Row;
use super::*;
use crate::store::index::{Index, MemoryIndex, Op};

fn put(tree: Tree, key: &[u8]) -> Op {
    Op { tree, key: key.to_vec(), value: Some(key.to_vec()), fresh: false }
}

/// sled's own threads, shared by all tests, may hold the file a moment longer than its last handle.
fn open(dir: &Path) -> Result<SledIndex, IndexError> {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        match SledIndex::open(dir, 1 << 20) {
            Err(IndexError::Io { source, .. })
                if source.to_string().contains("acquire lock") && Instant::now() < give_up =>
            {
                std::thread::yield_now();
            }
            opened => return opened,
        }
    }
}

/// A power cut soon after the index was made left its settings empty: it is damaged, and sled is
/// not asked, for it panics over such an index.
#[test]
fn an_index_without_settings_is_damaged() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("index");
    let index = open(&dir).unwrap();
    index.apply([put(Tree::Due, b"a")].iter().map(Op::change), 4).unwrap();
    drop(index);
    drop(open(&dir).unwrap());
    fs::write(dir.join("conf"), "").unwrap();
    assert!(matches!(open(&dir), Err(IndexError::Damaged { .. })));
    fs::remove_file(dir.join("conf")).unwrap();
    assert!(matches!(open(&dir), Err(IndexError::Damaged { .. })));
}

/// Dropped without `make_durable`, opened again: content is there (the process ended, the
/// machine did not), but trees that were idle claim nothing, so replay starts at their least.
/// After `make_durable` every tree claims what the mark says.
#[test]
fn applied_sequence_per_tree_survives_reopening() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("index");
    let index = open(&dir).unwrap();
    index.apply([put(Tree::Due, b"a"), put(Tree::Acks, b"b")].iter().map(Op::change), 4).unwrap();
    index.apply([put(Tree::Due, b"c")].iter().map(Op::change), 6).unwrap();
    assert_eq!(index.applied(), 6);
    drop(index);

    let index = open(&dir).unwrap();
    assert_eq!(index.applied(), 0);
    assert_eq!(index.applied_of(Tree::Due).unwrap(), 6);
    assert_eq!(index.applied_of(Tree::Acks).unwrap(), 4);
    assert_eq!(index.get(Tree::Due, b"c").unwrap(), Some(b"c".to_vec()));
    index.apply([put(Tree::Due, b"d")].iter().map(Op::change), 9).unwrap();
    assert_eq!(index.make_durable().unwrap(), 9);
    index.apply([put(Tree::Due, b"e")].iter().map(Op::change), 11).unwrap();
    drop(index);

    let index = open(&dir).unwrap();
    assert_eq!(index.applied(), 9, "the least over all trees");
    assert_eq!(index.applied_of(Tree::Due).unwrap(), 11);
    for tree in Tree::all() {
        let expected = match tree {
            Tree::Due => 4,
            Tree::Acks => 1,
            _ => 0,
        };
        let index = &index;
        assert_eq!(index.len(*tree).unwrap(), expected, "{}", tree.name());
    }
}

/// A damaged database answers a typed error, is set aside under the first free name, and a
/// new one opens in its place; what was set aside is kept as it was.
#[test]
fn damaged_is_set_aside() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("index");
    for n in 1..=3 {
        let index = open(&dir).unwrap();
        index.apply([put(Tree::Due, b"a")].iter().map(Op::change), n).unwrap();
        index.make_durable().unwrap();
        drop(index);
        fs::write(dir.join("conf"), b"not a configuration").unwrap();
        assert!(matches!(open(&dir), Err(IndexError::Damaged { .. } | IndexError::Io { .. })));
        let kept = set_aside(&dir).unwrap();
        assert_eq!(kept, parent.path().join(format!("index.damaged-{n}")));
        assert!(kept.join("db").exists() && !dir.exists());
        let index = open(&dir).unwrap();
        assert_eq!((index.applied(), index.len(Tree::Due).unwrap()), (0, 0));
    }
}

/// Garbage in place of the data file ends in an error or in an index that admits to have
/// lost everything, never in a panic of the caller.
#[test]
fn overwritten_data_does_not_panic_the_caller() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("index");
    let index = open(&dir).unwrap();
    for n in 1..=200u64 {
        index.apply([put(Tree::Timeline, &n.to_be_bytes())].iter().map(Op::change), n).unwrap();
    }
    index.make_durable().unwrap();
    drop(index);
    let length = fs::metadata(dir.join("db")).unwrap().len();
    fs::write(dir.join("db"), vec![0xa5; length as usize]).unwrap();
    match open(&dir) {
        Err(IndexError::Damaged { .. } | IndexError::Io { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(index) => assert_eq!(index.applied(), 0),
    }
}

/// The enum reaches this variant.
#[test]
fn works_through_the_enum() {
    let parent = tempfile::tempdir().unwrap();
    let index = Index::Sled(open(&parent.path().join("index")).unwrap());
    index.apply_ops(&[put(Tree::Meta, b"k")], 1).unwrap();
    assert_eq!(index.get(Tree::Meta, b"k").unwrap(), Some(b"k".to_vec()));
}

const TREES: [Tree; 10] = [
    Tree::Messages,
    Tree::Outbox,
    Tree::Receipts,
    Tree::Statements,
    Tree::Timeline,
    Tree::TreeHashes,
    Tree::Transfers,
    Tree::Owed,
    Tree::ById,
    Tree::Due,
];

/// Keys of the expected form, with few digests, names and numbers, and some of any other form.
fn keys() -> impl Strategy<Value = (Tree, Vec<u8>)> {
    let digest = (0u8..3, 0u8..2).prop_map(|(n, m)| [[n; 14].as_slice(), &[m; 18]].concat());
    let about = (digest, proptest::collection::vec(0u8..3, 0..3))
        .prop_map(|(digest, rest)| [digest, rest].concat());
    let number = prop_oneof![0u64..80, 250u64..270, (u64::MAX - 40)..=u64::MAX];
    let number = number.prop_map(|number| number.to_be_bytes().to_vec());
    let named = ("[ab]{1,2}", number.clone())
        .prop_map(|(name, number)| [name.as_bytes(), b"\0", &number].concat());
    let generation = number.clone().prop_map(|number| [vec![0, 0, 0, 1], number].concat());
    let other =
        proptest::collection::vec(0u8..4, 0..14).prop_filter("reserved", |key| key != APPLIED_KEY);
    let key = prop_oneof![4 => about, 2 => number, 2 => named, 2 => generation, 1 => other];
    (proptest::sample::select(&TREES[..]), key)
}

/// Mostly small; some that fill a row, some that never fit one.
fn values() -> impl Strategy<Value = Option<Vec<u8>>> {
    let length = prop_oneof![8 => 0usize..40, 2 => 1000usize..2500, 1 => 4090usize..6000];
    proptest::option::weighted(0.8, (length, any::<u8>()).prop_map(|(n, byte)| vec![byte; n]))
}

fn changes() -> impl Strategy<Value = Vec<Op>> {
    let op =
        (keys(), values()).prop_map(|((tree, key), value)| Op { tree, key, value, fresh: false });
    proptest::collection::vec(op, 1..40)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        1 => Just(Bound::Unbounded),
        2 => keys().prop_map(|(_, key)| Bound::Included(key)),
        2 => keys().prop_map(|(_, key)| Bound::Excluded(key)),
    ]
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is put and deleted, read by key or in ranges: the index on disk says what the one
    /// in memory does. So it does when the last changes are applied once more, as after a crash.
    #[test]
    fn rows_show_no_difference(
        batches in proptest::collection::vec(changes(), 1..5),
        asked in proptest::collection::vec((bound(), bound(), 0usize..50, any::<bool>()), 1..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let stored = Index::Sled(SledIndex::open(&dir.path().join("index"), 1 << 20).unwrap());
        let memory = Index::Memory(MemoryIndex::new());
        for (seq, ops) in (1..).zip(&batches) {
            stored.apply_ops(ops, seq).unwrap();
            memory.apply_ops(ops, seq).unwrap();
        }
        for round in 0..2 {
            for tree in TREES {
                for (lower, upper, limit, reverse) in &asked {
                    let (lower, upper) = (as_slice(lower), as_slice(upper));
                    prop_assert_eq!(
                        stored.range(tree, lower, upper, *limit, *reverse).unwrap(),
                        memory.range(tree, lower, upper, *limit, *reverse).unwrap(),
                        "{:?}", tree
                    );
                }
                prop_assert_eq!(stored.len(tree).unwrap(), memory.len(tree).unwrap());
            }
            for op in batches.iter().flatten() {
                let (tree, key) = (op.tree, &op.key);
                prop_assert_eq!(stored.get(tree, key).unwrap(), memory.get(tree, key).unwrap());
            }
            if round == 0 {
                let last = batches.last().unwrap();
                for index in [&stored, &memory] {
                    index.apply_ops(last, 9).unwrap();
                }
            }
        }
    }
}

/// Where pairs of messages stand is a format: a row is found by every later version.
#[test]
fn places_are_fixed() {
    let digest = [7; 32];
    let entry = [&digest[..], b"xb.ncu"].concat();
    let name = |member: u8, of: &[u8]| [&[member], &[7; 18][..], of].concat();
    for (tree, number) in
        [(Tree::Messages, 1), (Tree::Outbox, 2), (Tree::Receipts, 3), (Tree::Statements, 4)]
    {
        assert_eq!(member(tree), Some(number));
        assert_eq!(place(number, &digest), Some(([7; 14], name(number, b""))));
        assert_eq!(place(number, &entry), Some(([7; 14], name(number, b"xb.ncu"))));
        assert_eq!(place(number, &digest[1..]), None);
    }
    assert_eq!(member(Tree::Requests), None);
}

/// What sled holds of a tree: rows, its applied sequence left out.
fn rows_of(index: &SledIndex, tree: Tree) -> Vec<Row> {
    let rows = index.db.open_tree(tree.name()).unwrap();
    let rows = rows.iter().filter(|row| row.as_ref().unwrap().0 != APPLIED_KEY);
    rows.map(|row| Row::read(&row.unwrap().1).unwrap()).collect()
}

/// What memory costs follows from the number of rows: what comes in order fills them, what has no
/// order leaves them more than half full, and what is deleted leaves none behind.
#[test]
fn neighbours_share_rows() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir.path().join("index")).unwrap();
    let in_order: Vec<Op> = (0..1000u64).map(|n| put(Tree::Timeline, &n.to_be_bytes())).collect();
    let without: Vec<Op> = (0..1000u64)
        .map(|n| put(Tree::ById, &n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()))
        .collect();
    for (seq, ops) in (1..).zip(in_order.chunks(7).chain(without.chunks(7))) {
        index.apply(ops.iter().map(Op::change), seq).unwrap();
    }
    let rows = rows_of(&index, Tree::Timeline);
    assert_eq!((rows.len(), rows[0].slots.len()), (1000usize.div_ceil(32), 32));
    let rows = rows_of(&index, Tree::ById);
    assert!(
        rows.len() <= 1000 / 4 && rows.iter().all(|row| row.slots.len() <= 8),
        "{}",
        rows.len()
    );
    let gone = in_order.iter().map(|op| Change { value: None, ..op.change() });
    index.apply(gone, 900).unwrap();
    assert_eq!(rows_of(&index, Tree::Timeline).len(), 0);
}

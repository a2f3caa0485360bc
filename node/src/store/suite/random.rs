//! Random sequences of verbs: the store is sound after each, and its index follows from the
//! journal, replayed from wherever.

use proptest::prelude::*;

use super::*;

async fn random_verb(store: &Store, verb: u8, n: u64) {
    match verb {
        0 => drop(submit(store, submission(n)).await),
        1 => drop(arrive(store, arrival(n, n % 2)).await),
        2 => drop(arrive(store, refusal(n, n % 3)).await),
        3 => {
            let receipts = vec![receipt(n, Stated::ContentConsignment)];
            store.record_receipts(group(n, n, receipts)).await.unwrap();
        }
        4 => store.record_have(them(), n, at(n)).await.unwrap(),
        5 => drop(store.acknowledge(ack(n, n, 1 + n as u32 % 2)).await),
        6 => {
            let defer = store.defer(ours(n), "xb.ncu".into(), Reason::Busy, at(n), 1, at(n));
            defer.await.unwrap();
        }
        7 => {
            let failure = statement("failure", n);
            let expiry = NewExpiry { digest: ours(n), recipient: them(), failure, now: at(n) };
            store.expire(vec![expiry]).await.unwrap();
        }
        8 => drop(store.erase(ours(n), "rule".into(), "officer".into(), at(n)).await),
        _ => drop(store.erase(theirs(n), "rule".into(), "officer".into(), at(n)).await),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_index_follows_from_the_journal(
        verbs in proptest::collection::vec((0u8..10, 1u64..6), 1..60),
        from in 0usize..60,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let place = Place::memory(1);
            let store = place.open();
            for (verb, n) in verbs {
                random_verb(&store, verb, n).await;
            }
            assert_sound(&store);
            // From any mark, over an index that holds later events already.
            let events = sound::events(&store);
            let index = sound::rebuilt(&events);
            sound::replay(&index, &events[from.min(events.len())..]);
            let replayed = sound::dump_view(&View::new([None, None, None], &index));
            assert_eq!(sound::dump(&store), replayed);
        });
    }
}

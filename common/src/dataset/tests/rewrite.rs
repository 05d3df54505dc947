//! Loads, rewrites and what vacuum takes away.

use super::*;

const FAR_US: i64 = i64::MAX;

/// Everything that tells what happened: positions, totals and commits. A rewrite changes none of it.
async fn history(dataset: &Dataset) -> (Positions, Counts, Vec<Commit>) {
    let head = dataset.snapshot().await.unwrap();
    let commits = dataset.commits(Version(0), head.version).await.unwrap();
    (head.positions, head.totals, commits.into_iter().filter(|commit| !commit.positions.is_empty()).collect())
}

/// One file in the place of `files`, all of one date, without the events for which `drop` says so.
async fn swap(dataset: &Dataset, files: Vec<DataFile>, drop: fn(u64) -> bool) -> Swap {
    let names: Vec<String> = schema().event_schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut kept = Vec::new();
    for file in &files {
        for batch in dataset.read(file, &names).await.unwrap() {
            let offsets = batch.column_by_name(OFFSET).unwrap().as_primitive::<Int64Type>().values().to_vec();
            let keep = BooleanArray::from_iter(offsets.iter().map(|&offset| Some(!drop(offset as u64))));
            kept.push(arrow::compute::filter_record_batch(&batch, &keep).unwrap());
        }
    }
    let replacement = Replacement { date: files[0].date().map(str::to_owned), events: kept };
    Swap { removed: files, added: vec![dataset.write(replacement).await.unwrap()] }
}

async fn rewrite(dataset: &Dataset, why: Why, files: Vec<DataFile>, drop: fn(u64) -> bool) -> Option<Commit> {
    let swaps = vec![swap(dataset, files, drop).await];
    dataset.rewrite(Rewrite { why, swaps, archive: None }).await.unwrap()
}

#[tokio::test]
async fn l1_a_compaction_changes_files_and_nothing_else() {
    let store = memory();
    let dataset = open(&store).await;
    for from in 0..4 {
        dataset.append(append(&[(0, from, from + 1)])).await.unwrap();
    }
    let (before, events) = (history(&dataset).await, events_in(&dataset, Version(4)).await);
    let files = dataset.files(Version(4)).await.unwrap();
    assert_eq!(files.iter().map(DataFile::date).collect::<Vec<_>>(), [Some("1970-01-01"); 4]);
    let made = rewrite(&dataset, Why::Compaction, files.clone(), |_| false).await.unwrap();
    assert_eq!((made.version, made.files.len(), made.counts.len()), (Version(5), 0, 0));
    assert_eq!(dataset.files(Version(5)).await.unwrap().len(), 1);
    assert_eq!((history(&dataset).await, events_in(&dataset, Version(5)).await), (before, events));
    assert_eq!(history(&open(&store).await).await, history(&dataset).await);
    // What is in the table no more cannot be replaced again, and nothing of the attempt stays.
    let there = store.list(&Path::from("datasets")).await.unwrap();
    assert_eq!(rewrite(&dataset, Why::Compaction, files.clone(), |_| false).await, None);
    assert_eq!(store.list(&Path::from("datasets")).await.unwrap(), there);
    // Delta's readers are told that no data changed.
    let entry = store.get(&log::entry_path(&Path::from("datasets/departures"), Version(5))).await.unwrap().unwrap();
    let entry = String::from_utf8(entry.to_vec()).unwrap();
    assert!(entry.contains("\"dataChange\":false") && !entry.contains("\"dataChange\":true"), "{entry}");
    let lossy = vec![Swap { removed: files, added: Vec::new() }];
    let lossy = Rewrite { why: Why::Compaction, swaps: lossy, archive: None };
    assert!(matches!(dataset.rewrite(lossy).await, Err(Error::Contradiction { .. })));
}

#[tokio::test]
async fn l1_of_a_rewrite_of_many_files_those_are_left_out_that_another_was_faster_with() {
    let dataset = open(&memory()).await;
    for from in 0..4 {
        dataset.append(append(&[(0, from, from + 1)])).await.unwrap();
    }
    let all = events_in(&dataset, Version(4)).await;
    let files = dataset.files(Version(4)).await.unwrap();
    let each = |files: &[DataFile]| files.iter().map(|file| vec![file.clone()]).collect::<Vec<_>>();
    let mut swaps = Vec::new();
    for files in each(&files) {
        swaps.push(swap(&dataset, files, |_| false).await);
    }
    // Of an archive it is all or nothing: what it keeps is of all of them.
    rewrite(&dataset, Why::Compaction, files[1..3].to_vec(), |_| false).await.unwrap();
    let archived = Rewrite {
        why: Why::Retention,
        swaps: each(&files).into_iter().map(gone).collect(),
        archive: Some(ArchiveId::fresh()),
    };
    assert_eq!(dataset.rewrite(archived).await.unwrap(), None);
    let made =
        dataset.rewrite(Rewrite { why: Why::Compaction, swaps: swaps.clone(), archive: None }).await.unwrap().unwrap();
    assert_eq!((made.version, &made.removed), (Version(6), &vec![files[0].path.clone(), files[3].path.clone()]));
    assert_eq!(events_in(&dataset, Version(6)).await, all);
    assert_whole(&dataset).await;
    // What was written for the others is gone; what is replaced is known, however far back that was.
    let (live, replaced) = (dataset.files(Version(6)).await.unwrap(), dataset.replaced().await.unwrap());
    assert_eq!((live.len(), &replaced), (3, &files.iter().map(|file| file.path.clone()).collect()));
    assert_eq!(dataset.vacuum(FAR_US, &BTreeSet::new()).await.unwrap(), replaced);
    // The same file twice would make of its events two.
    let twice = Rewrite { why: Why::Compaction, swaps: vec![swaps[0].clone(), swaps[0].clone()], archive: None };
    assert!(matches!(dataset.rewrite(twice).await, Err(Error::Contradiction { .. })));
}

fn gone(removed: Vec<DataFile>) -> Swap {
    Swap { removed, added: Vec::new() }
}

#[tokio::test]
async fn l3_a_rewrite_and_appends_at_once_lose_nothing() {
    for seed in 0..4 {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let faulty = FaultyObjects::over(Arc::clone(&objects));
        let (writer, keeper) =
            (open(&store(faulty.clone())).await, open(&Store::over(Arc::clone(&objects), url())).await);
        writer.append(append(&[(0, 0, 2), (1, 0, 2)])).await.unwrap();
        faulty.fail_randomly(seed, 200);
        let writing = tokio::spawn(write_until(writer, 20, 2, seed));
        while !writing.is_finished() {
            let head = keeper.snapshot().await.unwrap().version;
            let files = keeper.files(head).await.unwrap();
            let date = files[0].date().map(str::to_owned);
            let same: Vec<_> = files.into_iter().filter(|file| file.date() == date.as_deref()).collect();
            rewrite(&keeper, Why::Compaction, same, |_| false).await;
            tokio::task::yield_now().await;
        }
        let committed = writing.await.unwrap();
        let (positions, totals, commits) = history(&keeper).await;
        assert_eq!(positions, super::positions(&[(0, 20), (1, 20)]));
        assert_eq!(totals.events, 40);
        assert!(committed.iter().all(|commit| commits.contains(commit)));
        let head = keeper.snapshot().await.unwrap().version;
        let all: Vec<(u32, u64)> = (0..2).flat_map(|p| (0..20).map(move |offset| (p, offset))).collect();
        assert_eq!(events_in(&keeper, head).await, all);
    }
}

#[tokio::test]
async fn events_of_a_commit_are_found_where_a_rewrite_put_them() {
    let store = memory();
    let dataset = open(&store).await;
    let first = dataset.append(append(&[(0, 0, 3), (1, 0, 2)])).await.unwrap();
    let second = dataset.append(append(&[(0, 3, 4)])).await.unwrap();
    let files = dataset.files(Version(2)).await.unwrap();
    rewrite(&dataset, Why::Erasure, files, |offset| offset == 1).await.unwrap();
    let none = BTreeSet::new();
    assert_eq!(dataset.vacuum(0, &none).await.unwrap(), []);
    assert_eq!(dataset.vacuum(FAR_US, &none).await.unwrap().len(), 2);
    assert_eq!(dataset.vacuum(FAR_US, &none).await.unwrap(), []);
    for (commit, expected) in [(&first, vec![(0, 0), (0, 2), (1, 0)]), (&second, vec![(0, 3)])] {
        let columns = [OFFSET.to_owned()];
        let batches = dataset.read_of_commit(commit, &commit.files[0], &columns).await.unwrap();
        let mut found = Vec::new();
        for batch in &batches {
            let partitions = batch.column_by_name(PARTITION).unwrap().as_primitive::<Int32Type>().values();
            let offsets = batch.column_by_name(OFFSET).unwrap().as_primitive::<Int64Type>().values();
            found.extend(partitions.iter().zip(offsets).map(|(&p, &offset)| (p as u32, offset as u64)));
        }
        found.sort_unstable();
        assert_eq!(found, expected);
    }
    // Positions stay: what was erased does not come back from the log.
    assert_eq!(dataset.snapshot().await.unwrap().positions, positions(&[(0, 4), (1, 2)]));
    let again = dataset.append(append(&[(0, 1, 2)])).await;
    assert!(matches!(again, Err(Error::Fenced { .. })), "{again:?}");
}

#[tokio::test]
async fn what_no_commit_has_is_removed_once_it_is_old() {
    let store = memory();
    let dataset = open(&store).await;
    let commit = dataset.append(append(&[(0, 0, 3)])).await.unwrap();
    let orphan = Path::from("datasets/departures/event_date=1970-01-01/orphan.parquet");
    store.put(&orphan, "half a commit".into()).await.unwrap();
    assert_eq!(dataset.vacuum(0, &BTreeSet::new()).await.unwrap(), []);
    assert_eq!(dataset.vacuum(FAR_US, &BTreeSet::from([orphan.clone()])).await.unwrap(), []);
    assert_eq!(dataset.vacuum(FAR_US, &BTreeSet::new()).await.unwrap(), [orphan]);
    assert_eq!(dataset.files(Version(1)).await.unwrap(), commit.files);
    assert_whole(&dataset).await;
}

#[tokio::test]
async fn l3_a_load_has_one_partition_however_often_it_is_asked_for() {
    let store = memory();
    let (one, other) = (open(&store).await, open(&store).await);
    let [a, b] = ["a", "b"].map(LoadId::of);
    assert_eq!(a.to_string().parse(), Ok(a));
    assert_eq!(one.load(a).await.unwrap(), (LOADS_FROM, Position(0)));
    assert_eq!(other.load(b).await.unwrap(), (Partition(LOADS_FROM.0 + 1), Position(0)));
    assert_eq!(other.load(a).await.unwrap(), (LOADS_FROM, Position(0)));
    assert_eq!(one.snapshot().await.unwrap().version, Version(2), "a load is reserved by one commit");
    one.append(append(&[(LOADS_FROM.0, 0, 3)])).await.unwrap();
    assert_eq!(open(&store).await.load(a).await.unwrap(), (LOADS_FROM, Position(3)));
    // A second process that loads the same file is told where it stands.
    let late = other.append(append(&[(LOADS_FROM.0, 0, 2)])).await;
    assert!(matches!(late, Err(Error::Fenced { actual: Some(Position(3)), .. })), "{late:?}");
}

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use arrow::{
    array::{ArrayRef, Int64Array, StringArray},
    compute::cast,
    datatypes::DataType,
};
use url::Url;

use super::*;
use crate::{
    position::{Partition, Position},
    testing,
    testing::store::{Fault, FaultyObjects, Operation},
};

fn faulty() -> (FaultyObjects, Store) {
    let objects = FaultyObjects::in_memory();
    let store = Store::over(Arc::new(objects.clone()), Url::parse("memory:///").unwrap());
    (objects, store)
}

fn generation(number: u64) -> Generation {
    let source = SourceName::new("departures").unwrap();
    let chunk = Chunk {
        path: format!("generations/chunks/0123456789abcdef/0-3600000000-{number:016x}.parquet"),
        from_us: 0,
        to_us: 3_600_000_000,
        part: 0,
        rows: 24,
        bytes: 4_096,
        checksum: format!("{number:016x}"),
    };
    let files = ViewFiles {
        id: ViewId::new("0123456789abcdef"),
        source: source.clone(),
        sql: String::new(),
        kept: Default::default(),
        chunks: vec![chunk],
    };
    let positions = Positions::from([(Partition(0), Position(1_204)), (Partition(10), Position(7))]);
    Generation {
        format: FORMAT,
        number,
        created_at_us: 1_357_000_000_000_000,
        marks: BTreeMap::from([(source, Mark { version: Version(1_190), positions })]),
        views: ["delays", "departures"].map(|name| (ViewName::new(name).unwrap(), files.clone())).into(),
    }
}

#[tokio::test]
async fn the_newest_generation_is_found() {
    let (_, store) = faulty();
    assert_eq!(latest(&store).await.unwrap(), None);
    for number in [1, 2, 10] {
        publish(&store, &generation(number)).await.unwrap();
        // A chunk is no generation, whatever it is called.
        let chunk = Path::from(format!("generations/chunks/0123456789abcdef/{:020}.json", 99));
        store.put(&chunk, "{}".into()).await.unwrap();
        assert_eq!(latest(&store).await.unwrap(), Some(generation(number)));
    }
    assert_eq!(load(&store, 2).await.unwrap(), Some(generation(2)));
    assert_eq!(load(&store, 3).await.unwrap(), None);
}

#[tokio::test]
async fn l4_a_number_is_published_once() {
    let (objects, store) = faulty();
    objects.fail(Operation::Put, 0, Fault::AnswerLost);
    publish(&store, &generation(1)).await.unwrap();
    let other = Generation { created_at_us: 0, ..generation(1) };
    let refused = publish(&store, &other).await;
    assert!(matches!(refused, Err(Error::Exists { number: 1 })), "{refused:?}");
    assert_eq!(latest(&store).await.unwrap(), Some(generation(1)));
}

#[tokio::test]
async fn l4_a_generation_appears_whole_or_not_at_all() {
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::Late, Fault::OutOfSpace] {
        let (objects, store) = faulty();
        publish(&store, &generation(1)).await.unwrap();
        for nth in 0..u64::from(crate::limits::STORE_ATTEMPTS_MAX) {
            objects.fail(Operation::Put, nth, fault);
        }
        let published = publish(&store, &generation(2)).await;
        objects.calm();
        let expected = if store.contains(&manifest_path(2)).await.unwrap() { generation(2) } else { generation(1) };
        assert_eq!(latest(&store).await.unwrap(), Some(expected), "after {fault:?}: {published:?}");
    }
}

#[tokio::test]
async fn damaged_manifests_are_named() {
    let (_, store) = faulty();
    for (manifest, message) in [
        ("{".to_owned(), "EOF"),
        (serde_json::to_string(&Generation { format: 2, ..generation(1) }).unwrap(), "has format 2"),
        (serde_json::to_string(&generation(2)).unwrap(), "number 2"),
    ] {
        store.put(&manifest_path(1), manifest.into()).await.unwrap();
        let error = latest(&store).await.unwrap_err().to_string();
        assert!(error.starts_with("generations/00000000000000000001.json"), "{error}");
        assert!(error.contains(message), "{error}");
    }
}

#[tokio::test]
async fn the_manifest_is_as_documented() {
    let (_, store) = faulty();
    publish(&store, &generation(42)).await.unwrap();
    let manifest = store.get(&manifest_path(42)).await.unwrap().unwrap();
    insta::assert_snapshot!(std::str::from_utf8(&manifest).unwrap());
}

fn view() -> Arc<View> {
    let sql = "CREATE VIEW by_hour AS SELECT date_trunc('hour', departed_at) AS hour, carrier, count(*) AS departures \
               FROM departures GROUP BY hour, carrier";
    testing::view(sql, &testing::departures())
}

fn partial_of(view: &View) -> RecordBatch {
    let schema = view.partial_schema();
    let columns = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Arc::new(StringArray::from(vec!["AA", "UA"])) as ArrayRef,
        number => cast(&Int64Array::from(vec![0, 0]), number).unwrap(),
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

#[tokio::test]
async fn a_chunk_is_named_by_its_content_and_checked() {
    let (_, store) = faulty();
    let (view, partial) = (view(), partial_of(&view()));
    let chunk = write_chunk(&store, &view, 0, 3_600_000_000, &partial).await.unwrap();
    assert_eq!(write_chunk(&store, &view, 0, 3_600_000_000, &partial).await.unwrap(), chunk);
    assert_eq!(read_chunk(&store, &view, &chunk).await.unwrap(), partial);
    assert_eq!((chunk.rows, chunk.path.contains(view.id.as_str())), (2, true));
    let path = chunk_path(&chunk).unwrap();
    assert_eq!(store.list(&Path::from("generations")).await.unwrap(), std::slice::from_ref(&path));
    let mut damaged = store.get(&path).await.unwrap().unwrap().to_vec();
    damaged[8] ^= 1;
    for damage in [damaged, Vec::new()] {
        store.put(&path, damage.into()).await.unwrap();
        let refused = read_chunk(&store, &view, &chunk).await;
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    }
    store.delete(&path).await.unwrap();
    let refused = read_chunk(&store, &view, &chunk).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("{path} is gone"));
}

/// L4 over a real server of S3 with requests that go wrong: of runs that race for a number, one wins, and it is what is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l4_one_of_many_publishers_wins_over_s3_whatever_goes_wrong() {
    let Some(server) = testing::s3::Server::shared() else { return };
    let bucket = server.bucket().await;
    let proxy = testing::s3::Proxy::start(&server.address()).await;
    let store = testing::s3::store(proxy.address(), &bucket, "race");
    for number in 1..=4 {
        proxy.fail_randomly(number, 250);
        let mut runs = tokio::task::JoinSet::new();
        for run in 0..6 {
            let (store, ours) = (store.clone(), Generation { created_at_us: run, ..generation(number) });
            runs.spawn(async move { publish(&store, &ours).await.map(|()| ours) });
        }
        let mut won = Vec::new();
        while let Some(run) = runs.join_next().await {
            match run.unwrap() {
                Ok(ours) => won.push(ours),
                Err(error) => assert!(matches!(error, Error::Exists { .. }), "{error:?}"),
            }
        }
        proxy.calm();
        assert_eq!(latest(&store).await.unwrap().as_ref(), won.first());
        assert_eq!(won.len(), 1);
    }
}

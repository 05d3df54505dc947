//! Batch jobs as a scheduler runs them: real processes, killed, at once, and one a task.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    time::SystemTime,
};

use arrow::{
    array::{ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::DataType,
};
use common::{
    dataset::{Append, Dataset},
    event::Counts,
    pipeline::Pipeline,
    position::{OffsetRange, Partition, Position},
    store::Store,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::{
    commands::{PIPELINE, shop, write},
    process::{Server, highwater, succeeds, text},
};

const COMMITS: i64 = 60;
const KILLS: usize = 10;

const BY_DAY: &str = "CREATE VIEW days AS SELECT date_trunc('day', at) AS day, count(*) AS orders, \
                      approx_distinct(customer) AS customers FROM orders GROUP BY day;";

/// A shop whose dataset has [`COMMITS`] commits, each of another day.
pub(crate) fn filled() -> tempfile::TempDir {
    let folder = shop();
    write(folder.path(), "views/days.sql", BY_DAY);
    fill(folder.path(), 0..COMMITS);
    folder
}

/// Commits 50 orders of each of these days.
pub(crate) fn fill(folder: &Path, days: std::ops::Range<i64>) {
    let pipeline = Pipeline::load(&folder.join("pipeline.toml")).expect("the pipeline is valid");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&pipeline.store).expect("the store opens");
        let source = &pipeline.sources["orders"];
        let schema = Arc::clone(&source.rules.schema);
        let dataset = Dataset::open(&store, &pipeline.name, &source.name, schema, "at").await.expect("a dataset");
        for day in days {
            let events = orders(&source.rules.schema, day);
            let range = OffsetRange::new(Position(day as u64 * 50), Position(day as u64 * 50 + 50));
            let counts = Counts { events: 50, ..Counts::default() };
            let partitions = BTreeMap::from([(Partition(0), (range, counts))]);
            dataset.append(Append { events: vec![events], partitions }).await.expect("a commit");
        }
    });
}

fn orders(schema: &common::schema::Schema, day: i64) -> RecordBatch {
    let numbers = || (0..50_i64).map(move |n| day * 50 + n);
    let times = numbers().map(|n| 1_767_225_600_000_000 + day * 86_400_000_000 + (n % 50) * 1_700_000_000);
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"));
    let event_schema = schema.event_schema();
    let columns = event_schema.fields().iter().map(|field| -> ArrayRef {
        match (field.name().as_str(), field.data_type()) {
            (_, DataType::Timestamp(..)) => Arc::clone(&times),
            ("customer", _) => Arc::new(numbers().map(|n| Some(format!("c{}", n * 7 % 23))).collect::<StringArray>()),
            ("cents", _) => Arc::new(Int64Array::from_iter_values(numbers().map(|n| n * 13 % 1000))),
            ("_offset", _) => Arc::new(Int64Array::from_iter_values(numbers())),
            ("_topic", _) => Arc::new(StringArray::from(vec!["orders"; 50])),
            ("_partition", _) => Arc::new(Int32Array::from(vec![0; 50])),
            ("_key", _) => Arc::new(BinaryArray::from(vec![None::<&[u8]>; 50])),
            (other, _) => panic!("the tests know no column {other}"),
        }
    });
    RecordBatch::try_new(Arc::clone(&event_schema), columns.collect()).expect("columns of an event")
}

/// A batch command on the pipeline in `folder`.
pub(crate) fn batch(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = highwater(["batch"]);
    command.args(arguments).current_dir(folder);
    command
}

/// The newest generation of a store: marks and views, not when it was made; and its chunk files, whole.
pub(crate) fn generation(folder: &Path) -> (Value, BTreeMap<PathBuf, Vec<u8>>) {
    let root = folder.join("state/store");
    let manifests =
        files(&root.join("generations")).into_iter().filter(|path| path.extension() == Some("json".as_ref()));
    let newest = manifests.max().expect("there is a generation");
    let mut manifest: Value = serde_json::from_slice(&fs::read(newest).expect("it is there")).expect("it is JSON");
    let fields = manifest.as_object_mut().expect("a manifest is an object");
    fields.remove("created_at_us");
    let mut chunks = BTreeMap::new();
    for view in manifest["views"].as_object().expect("it has views").values() {
        for chunk in view["chunks"].as_array().expect("a view has chunks") {
            let path = PathBuf::from(chunk["path"].as_str().expect("a chunk has a path"));
            let bytes = fs::read(root.join(&path)).expect("a chunk is there");
            chunks.insert(path, bytes);
        }
    }
    (manifest, chunks)
}

/// All objects below a folder, ascending; not what a killed put has staged, which no listing of the store shows either.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.to_string_lossy().contains('#') {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The records of finished tasks, and when each was made.
fn finished(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let is_record = |path: &PathBuf| {
        let kind = path.parent().and_then(Path::file_name);
        (kind == Some("map".as_ref()) || kind == Some("reduce".as_ref())) && path.extension() == Some("json".as_ref())
    };
    let made = |path: PathBuf| {
        let at = fs::metadata(&path).and_then(|data| data.modified()).expect("a file has a time");
        (path, at)
    };
    files(&folder.join("state/store/runs")).into_iter().filter(is_record).map(made).collect()
}

#[test]
fn l1_a_recompute_killed_at_any_moment_goes_on_and_publishes_the_same() {
    let seed: u64 =
        std::env::var("HIGHWATER_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("seed {seed} (HIGHWATER_TEST_SEED repeats it)");
    let mut random = StdRng::seed_from_u64(seed);
    let (folder, undisturbed) = (filled(), filled());
    let arguments = ["recompute", "--resumable", "--task-size", "1B", "--json", "--cores", "2"];
    let mut before = BTreeMap::new();
    for kill in 1..=KILLS {
        let mut child = batch(folder.path(), &arguments).stderr(Stdio::piped()).spawn().expect("the program starts");
        let log = BufReader::new(child.stderr.take().expect("standard error is piped"));
        // So few that there is something left for the last kill, though tasks go on while a line is read.
        let left = (COMMITS as usize + 10).saturating_sub(before.len());
        let lines = random.random_range(1..=(left / (2 * (KILLS + 1 - kill))).max(1));
        let last = log
            .lines()
            .map(|line| line.expect("it is text"))
            .filter(|line| line.contains("task finished"))
            .nth(lines - 1);
        println!("kill {kill} after {lines}: {last:?}");
        child.kill().expect("the child is there until it is waited for");
        child.wait().expect("the child is waited for once");
        let now = finished(folder.path());
        assert!(before.iter().all(|(task, made)| now.get(task) == Some(made)), "a finished task was done again");
        assert!(now.len() >= before.len() + lines, "{} after {}", now.len(), before.len());
        before = now;
    }
    let report: Value = serde_json::from_str(&succeeds(&mut batch(folder.path(), &arguments))).expect("it is JSON");
    let count = |kind: &str| before.keys().filter(|path| path.parent().is_some_and(|p| p.ends_with(kind))).count();
    println!("{}", report["tasks"]);
    assert_eq!(report["tasks"]["map_before"], count("map"));
    assert_eq!(report["tasks"]["reduce_before"], count("reduce"));
    assert_eq!(report["outcome"], "published");

    succeeds(&mut batch(undisturbed.path(), &["recompute"]));
    assert_eq!(generation(folder.path()), generation(undisturbed.path()));
    assert!(files(&folder.path().join("state/store/runs")).is_empty(), "the run's files are gone");
}

/// Kills aimed at the steps that random moments seldom hit: between two reduce tasks, after the last of them, and at the publishing,
/// before it took effect or after.
#[test]
fn l1_l4_a_recompute_killed_while_it_reduces_and_publishes_ends_in_one_generation() {
    let (folder, undisturbed) = (filled(), filled());
    let arguments = ["recompute", "--resumable", "--task-size", "64kB", "--json", "--cores", "2"];
    let mut reduced = 0;
    for (line, kills) in [("reduce task finished", 4), ("publishing", 4)] {
        for kill in 0..kills {
            let mut child =
                batch(folder.path(), &arguments).stderr(Stdio::piped()).spawn().expect("the program starts");
            let log = BufReader::new(child.stderr.take().expect("standard error is piped"));
            let seen = log.lines().map(|line| line.expect("it is text")).any(|read| read.contains(line));
            child.kill().expect("the child is there until it is waited for");
            child.wait().expect("the child is waited for once");
            assert!(seen || kill > 0, "the run came to its end without {line}");
            reduced = reduced
                .max(finished(folder.path()).keys().filter(|task| task.to_string_lossy().contains("reduce")).count());
        }
    }
    assert!(reduced > 4, "{reduced} reduce tasks were finished between kills");
    let report: Value = serde_json::from_str(&succeeds(&mut batch(folder.path(), &arguments))).expect("it is JSON");
    assert!(["published", "unchanged"].contains(&report["outcome"].as_str().unwrap_or_default()), "{report}");
    succeeds(&mut batch(undisturbed.path(), &["recompute"]));
    assert_eq!(generation(folder.path()), generation(undisturbed.path()));
    assert!(files(&folder.path().join("state/store/runs")).is_empty(), "the run's files are gone");
}

/// Does the tasks of one kind, each in a process of its own that is told by its standard input, as Hadoop Streaming would.
fn by_lines(folder: &Path, run: &str, kind: &str) -> usize {
    let tasks = succeeds(&mut batch(folder, &["tasks", run, kind]));
    let tasks: Vec<&str> = tasks.lines().collect();
    for (key, tasks) in tasks.chunks(tasks.len().div_ceil(2).max(1)).enumerate() {
        let mut child = batch(folder, &[kind, "-", "--cores", "1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = child.stdin.take().expect("standard input is piped");
        tasks.iter().for_each(|task| writeln!(lines, "{key}\t{task}").expect("it reads"));
        drop(lines);
        let Output { status, stdout, .. } = child.wait_with_output().expect("the child ends");
        assert!(status.success(), "{status}");
        let stdout = text(&stdout);
        let mut done: Vec<&str> = stdout.lines().map(|line| line.split('\t').next().unwrap_or_default()).collect();
        done.sort_unstable();
        let mut expected = tasks.to_vec();
        expected.sort_unstable();
        assert_eq!(done, expected, "a line for each finished task");
    }
    tasks.len()
}

/// The code that a command ends with.
fn code(command: &mut Command) -> i32 {
    let output = command.env("HIGHWATER_LOG", "off").output().expect("the program starts");
    output.status.code().expect("it ends by itself")
}

#[test]
fn l1_commands_of_one_task_each_come_to_the_bytes_of_one_process() {
    let (folder, process) = (filled(), filled());
    let folder = folder.path();
    let plan: Value =
        serde_json::from_str(&succeeds(&mut batch(folder, &["plan", "--task-size", "8KiB", "--json"]))).expect("JSON");
    let run = plan["run"].as_str().expect("a run has a name");
    assert_eq!(code(&mut batch(folder, &["publish", run])), 6, "unfinished");
    assert_eq!(code(&mut batch(folder, &["reduce", &format!("{run}/r0")])), 6, "its maps are unfinished");
    assert_eq!(code(&mut batch(folder, &["map", &format!("{run}/m9999")])), 2, "no such task");
    assert_eq!(code(&mut batch(folder, &["map", &format!("{run}/r0")])), 2, "another kind");
    assert_eq!(code(&mut batch(folder, &["publish", "0123"])), 2, "no such run");
    assert_eq!(code(&mut batch(folder, &["recompute", "--view", "nothing"])), 2, "no such view");
    assert_eq!(code(&mut batch(folder, &["recompute", "--from", "yesterday"])), 2, "no time");

    // A speculative copy of the first task beforehand.
    succeeds(&mut batch(folder, &["map", &format!("{run}/m0")]));
    assert!(by_lines(folder, run, "map") > 2);
    assert_eq!(by_lines(folder, run, "map"), 0);
    assert!(by_lines(folder, run, "reduce") > 2);
    assert_eq!(code(&mut batch(folder, &["publish", run])), 0);
    assert_eq!(code(&mut batch(folder, &["publish", run])), 2, "it is published and gone");

    succeeds(&mut batch(process.path(), &["recompute"]));
    assert_eq!(generation(folder), generation(process.path()));
}

#[test]
fn two_at_once_do_no_harm_and_one_lets_the_other_work() {
    let folder = filled();
    let folder = folder.path();
    // Commands of one run twice at the same time; and two recomputes.
    let plan: Value = serde_json::from_str(&succeeds(&mut batch(folder, &["plan", "--json"]))).expect("JSON");
    let run = plan["run"].as_str().expect("a run has a name");
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| (by_lines(folder, run, "map"), by_lines(folder, run, "reduce"))));
        for one in both {
            one.join().expect("all of them end well");
        }
    });
    let started = [(); 3].map(|()| batch(folder, &["recompute"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn());
    let codes = started.map(|child| child.expect("it starts").wait().expect("it ends").code());
    assert!(codes.contains(&Some(0)) && codes.iter().all(|code| matches!(code, Some(0 | 5))), "{codes:?}");
    let published = code(&mut batch(folder, &["publish", run]));
    assert!([0, 2].contains(&published), "its files may have been the recompute's: {published}");
    assert_eq!(generation(folder).0["number"], 1, "all of them came to the same");
}

#[test]
fn an_audit_ends_with_a_code_and_its_verdict_is_kept() {
    let folder = filled();
    let folder = folder.path();
    // An audit takes as many pages as there are.
    write(folder, "pipeline.toml", &PIPELINE.replace("[serving]", "[serving]\nquery_rows = 7"));
    succeeds(&mut batch(folder, &["recompute"]));
    // After the generation, in segments only.
    fill(folder, COMMITS..COMMITS + 2);
    let printed = succeeds(&mut batch(folder, &["audit"]));
    assert!(
        printed.starts_with("equal\n") && printed.contains("view sales") && printed.contains("% is stated"),
        "{printed}"
    );

    // A running Highwater is asked by its URL.
    let server = Server::start("serve", folder);
    let scope = ["--view", "sales", "--from", "2026-01-10T00:00:00Z", "--to", "2026-02-01T00:00:00Z"];
    let report = succeeds(batch(folder, &["audit", "--json", "--url", &server.url()]).args(scope));
    let report: Value = serde_json::from_str(&report).expect("the report is JSON");
    assert_eq!(
        (&report["equal"], report["views"].as_object().map(serde_json::Map::len)),
        (&Value::Bool(true), Some(1))
    );
    server.stop("TERM");

    // One chunk less in the manifest: its groups are missing.
    let root = folder.join("state/store");
    let newest = root.join("generations/00000000000000000001.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&newest).expect("it is there")).expect("it is JSON");
    manifest["views"]["sales"]["chunks"].as_array_mut().expect("chunks").remove(2);
    fs::write(&newest, manifest.to_string()).expect("it can be written");
    let output = batch(folder, &["audit", "--json"]).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("the report is JSON");
    let found = &report["views"]["sales"]["differing"][0];
    assert!(found["merged"].is_null() && found["recomputed"] == found["exact"], "{found}");
    assert_eq!(report["views"]["days"]["differences"], 0);

    let verdicts = files(&root.join("audits"));
    let last: Value = serde_json::from_slice(&fs::read(&verdicts[2]).expect("it is there")).expect("it is JSON");
    assert_eq!((verdicts.len(), &last["equal"]), (3, &Value::Bool(false)));
}

#[test]
fn views_are_shown_with_how_they_stand() {
    let folder = filled();
    let folder = folder.path();
    let views = || succeeds(highwater(["views"]).current_dir(folder));
    assert_eq!(views().matches("backfilling").count(), 2);
    succeeds(&mut batch(folder, &["advance"]));
    assert_eq!(views().matches("live").count(), 2);
    write(folder, "views/days.sql", &BY_DAY.replace("count(*)", "sum(cents)"));
    assert!(views().contains("changed") && views().contains("removed with the next generation"), "{}", views());
    succeeds(&mut batch(folder, &["advance"]));
    assert!(views().contains("removed, its files are kept") && views().matches("live").count() == 2, "{}", views());
    assert!(succeeds(&mut batch(folder, &["vacuum"])).contains("0 chunks, 0 generations, 0 runs"));
}

#[test]
fn the_old_definition_of_a_changed_view_answers_until_the_new_one_is_computed() {
    let folder = filled();
    let folder = folder.path();
    succeeds(&mut batch(folder, &["advance"]));
    write(folder, "views/days.sql", &BY_DAY.replace("count(*) AS orders", "sum(cents) AS turnover"));
    let asked = |url: &str| {
        let answer = succeeds(highwater(["query", "days", "--format", "json", "--url", url]).current_dir(folder));
        serde_json::from_str::<Value>(&answer).expect("the answer is JSON")
    };
    let column = |answer: &Value| answer["columns"][0]["name"].as_str().expect("a column has a name").to_owned();
    // This process computes nothing by itself.
    let mut server = Server::start("serve", folder);
    let old = asked(&server.url());
    assert_eq!((column(&old).as_str(), &old["provenance"]["generation"]), ("orders", &Value::from(1)));
    assert_eq!(old["rows"][0][0], COMMITS * 50);
    succeeds(&mut batch(folder, &["advance"]));
    server.wait_for("the changed views are computed, all layers go on with them");
    let line = server.wait_for("listening");
    let new = asked(&format!("http://{}", line["address"].as_str().expect("the line has an address")));
    assert_eq!((column(&new).as_str(), &new["provenance"]["generation"]), ("turnover", &Value::from(2)));
    assert_eq!(new["rows"][0][1], old["rows"][0][1], "the same customers");
    server.stop("INT");
}

/// Reads every document of a YAML file with Python, and says `kind/name` of each.
const YAML: &str = "import sys, yaml
for path in sys.argv[1:]:
    for job in yaml.safe_load_all(open(path)):
        spec = job['spec'].get('jobTemplate', job)['spec']
        pod = spec['template']['spec']
        assert job['apiVersion'] == 'batch/v1' and pod['restartPolicy'] == 'Never', job
        volumes = {volume['name'] for volume in pod['volumes']}
        for container in pod['containers']:
            assert {mount['name'] for mount in container['volumeMounts']} <= volumes, container
            assert all(set(entry) == {'name', 'value'} for entry in container['env']), container
        assert job['kind'] == 'CronJob' or spec['completionMode'] == 'Indexed', job
        print(job['kind'] + '/' + job['metadata']['name'])";

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn the_jobs_for_kubernetes_are_whole() {
    let Some(python) = common::testing::python::interpreter() else { return };
    let mut read = Command::new(python);
    read.args(["-c", YAML]).arg(deploy("kubernetes/recompute.yaml")).arg(deploy("kubernetes/cronjobs.yaml"));
    let found = succeeds(&mut read);
    let expected = "Job/highwater-map\nJob/highwater-reduce\nCronJob/highwater-advance\nCronJob/highwater-recompute\n\
                    CronJob/highwater-audit\nCronJob/highwater-keep\n";
    assert_eq!(found, expected);
}

#[test]
fn l1_spark_comes_to_the_bytes_of_one_process() {
    let Some(python) = common::testing::python::interpreter() else { return };
    // Few days: each task is a process of Python and one of ours.
    let [folder, process] = [(); 2].map(|()| {
        let folder = shop();
        fill(folder.path(), 0..8);
        folder
    });
    let mut spark = Command::new(python);
    spark.arg(deploy("spark/recompute.py")).arg("--highwater").arg(env!("CARGO_BIN_EXE_highwater"));
    spark.arg("--pipeline").arg(folder.path().join("pipeline.toml")).args(["--json", "--", "--task-size", "8KiB"]);
    spark.current_dir(folder.path()).env("HIGHWATER_LOG", "warn");
    // Short-lived machines of Java: compiling their code well costs more than it saves.
    let java = "'-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'";
    let options = format!(
        "--master local-cluster[2,1,1024] --conf spark.ui.enabled=false --driver-java-options {java} \
         --conf spark.executor.extraJavaOptions={java} pyspark-shell"
    );
    spark.env("PYSPARK_SUBMIT_ARGS", options);
    spark.env("PYSPARK_PYTHON", python).env("SPARK_LOCAL_IP", "127.0.0.1").env("SPARK_LOCAL_DIRS", folder.path());
    let report: Value = serde_json::from_str(&succeeds(&mut spark)).expect("the report is JSON");
    assert_eq!(report["outcome"], "published");
    succeeds(&mut batch(process.path(), &["recompute"]));
    assert_eq!(generation(folder.path()), generation(process.path()));
}

#[test]
fn words_are_counted_by_tasks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let words = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/words");
    let pipeline = fs::read_to_string(words.join("pipeline.toml")).expect("it is there");
    write(folder, "pipeline.toml", &pipeline.replace("127.0.0.1:8081", "127.0.0.1:0"));
    fs::create_dir(folder.join("views")).expect("the folder is new");
    fs::copy(words.join("views/words.sql"), folder.join("views/words.sql")).expect("it is there");
    write(folder, "text.txt", "the sea, the Sea\nand the ship's crew\n");
    let split = Command::new("python3").arg(words.join("split")).arg(folder.join("text.txt")).output();
    let Ok(split) = split else { return };
    write(folder, "words.ndjson", &text(&split.stdout));

    let mut server = Server::start("run", folder);
    let arguments = ["replay", "--source", "words", "words.ndjson", "--url", &server.url()];
    assert!(succeeds(highwater(arguments).current_dir(folder)).contains("8 rows sent"));
    server.wait_for("committed");
    server.stop("TERM");

    let plan: Value = serde_json::from_str(&succeeds(&mut batch(folder, &["plan", "--json"]))).expect("JSON");
    let run = plan["run"].as_str().expect("a run has a name");
    by_lines(folder, run, "map");
    by_lines(folder, run, "reduce");
    succeeds(&mut batch(folder, &["publish", run]));
    let server = Server::start("serve", folder);
    let arguments = [
        "query",
        "words",
        "--format",
        "json",
        "--dimensions",
        "word",
        "--order-by",
        "-occurrences,word",
        "--layer",
        "batch",
    ];
    let answer = succeeds(highwater(arguments).args(["--url", &server.url()]).current_dir(folder));
    let answer: Value = serde_json::from_str(&answer).expect("the answer is JSON");
    let expected = serde_json::json!([["the", 3, 1], ["sea", 2, 1], ["and", 1, 2], ["crew", 1, 2], ["ship's", 1, 2]]);
    assert_eq!(answer["rows"], expected);
    server.stop("TERM");
}

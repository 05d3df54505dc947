//! Every limit of Highwater, in one place, each with its reason.

use std::time::Duration;

/// Most edges of a histogram: every group has a count between any two of them.
pub const HISTOGRAM_EDGES_MAX: usize = 256;

/// Most quantiles of one measure.
pub const PERCENTILES_MAX: usize = 100;

/// Most values that an `approx_top_k` answers: a tenth of those that its state keeps.
pub const TOP_K_MAX: usize = 100;

/// Longest name of a source or view, in bytes: names become object-store paths and SQL identifiers.
pub const NAME_LENGTH_MAX: usize = 64;

/// Most dimensions of one view.
pub const VIEW_DIMENSIONS_MAX: usize = 32;

/// Longest bucket, in years: more is no time step, and within it no bucket of any event's time overflows.
pub const BUCKET_YEARS_MAX: i64 = 100;

/// [`BUCKET_YEARS_MAX`] in months.
pub const BUCKET_MONTHS_MAX: i64 = BUCKET_YEARS_MAX * 12;

/// [`BUCKET_YEARS_MAX`] in microseconds, of years of 366 days.
pub const BUCKET_WIDTH_US_MAX: i64 = BUCKET_YEARS_MAX * 366 * 86_400_000_000;

/// Most conditions in one chain of an expression, and most expressions one in another: Polars goes through both by
/// recursion, on threads whose stacks are 2 MiB.
pub const EXPRESSION_DEPTH_MAX: usize = 64;

/// Most partitions of one source of the embedded log: each has files and buffers of its own.
pub const PARTITIONS_MAX: u32 = 1024;

/// Largest record value that is read, in bytes (Kafka's own default `message.max.bytes` is 1 MiB).
pub const RECORD_BYTES_MAX: usize = 4 << 20;

/// A delta is emitted on the live feed at least this often while events arrive.
pub const DELTA_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of records of one source that wait to be folded before the log is read no further: more only makes deltas late.
pub const TAIL_BACKLOG_BYTES_MAX: u64 = 8 << 20;

/// Bytes of records of one partition that are worth a core's while before their delta is due: whatever their number, each turn of
/// decoding and folding costs some ten microseconds.
pub const TAIL_TURN_BYTES: u64 = 1 << 20;

/// Commits that are durable, and whose segments are being written, before the next commit waits: each holds its segments.
pub const COMMITS_SETTLING_MAX: usize = 2;

/// Notices that the speed layer holds for its listener before it reads no further.
pub const OUTBOX_NOTICES_MAX: usize = 256;

/// How long a speed layer that stops waits for its listener to take the last notices.
pub const FEED_DRAIN_MAX: Duration = Duration::from_secs(5);

/// Time between two looks at how many records the log holds that were not yet read.
pub const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// How often a failing store is tried again before the process stops loudly.
pub const STORE_ATTEMPTS_MAX: u32 = 6;

/// Wait before the first further try of a failing store; doubles each time.
pub const STORE_BACKOFF: Duration = Duration::from_millis(100);

/// How often the client of a bucket by itself tries a request again that may be made twice, before [`STORE_ATTEMPTS_MAX`]
/// counts one try.
pub const STORE_REQUEST_RETRIES_MAX: usize = 2;

/// Bytes of a large object that are read at once.
pub const STORE_PIECE_BYTES: u64 = 16 << 20;

/// Bytes at the end of a data file that are read first: what the file says of itself is there (one to four kilobytes, as a rule), and
/// a file that is no larger is read by one request.
pub const DATA_FILE_TAIL_BYTES: u64 = 1 << 20;

/// How often a commit that lost a race reads the head again before it gives up.
pub const COMMIT_ATTEMPTS_MAX: u32 = 32;

/// A dataset's log gets a checkpoint every so many versions: opening reads at most this many log entries one by one. A
/// checkpoint costs about as much as reading the list of all files.
pub const CHECKPOINT_EVERY: u64 = 100;

/// Objects of one dataset that are written or read at the same time.
pub const STORE_CONCURRENCY_MAX: usize = 16;

/// Files that one rewrite of a dataset takes out and puts in, at which it is a commit: a commit costs about as much as reading the list
/// of all files, and each file is half a kilobyte in its entry of the log, which everybody who follows the table reads.
pub const REWRITE_FILES_MAX: usize = 2_000;

/// Events that one archive is made of when retention removes them, unless a single file has more: it is folded, and read again, as a
/// whole, and has at most so many groups of a view.
pub const ARCHIVE_EVENTS_MAX: u64 = 1 << 20;

/// Bytes of files that one rewrite replaces, at which it is a commit: what a kill leaves to be done again.
pub const REWRITE_BYTES_MAX: u64 = 1 << 30;

/// How often an erasure goes through a dataset before it gives up: each pass finds what was committed since the one before.
pub const ERASE_PASSES_MAX: u32 = 8;

/// How often a batch run starts anew because what it reads was removed meanwhile: each erasure can be the cause of one.
pub const RUN_ATTEMPTS_MAX: u32 = 8;

/// How often a batch run that lost the race to publish carries its work on and tries again.
pub const PUBLISH_ATTEMPTS_MAX: u32 = 32;

/// Notices that wait on the live feed within one process before the speed layer waits for its listener.
pub const FEED_NOTICES_MAX: usize = 256;

/// Partitions of a feed's topic that Highwater makes: notices of one partition of a source keep their order in one of them.
pub const FEED_PARTITIONS: u32 = 4;

/// How long a feed's topic that Highwater makes keeps what was told: much longer than the events that it tells of wait for a commit.
pub const FEED_RETENTION: Duration = Duration::from_secs(3600);

/// How much further back than two commit intervals a listener that comes reads a feed: for clocks that differ, and commits that
/// take their time.
pub const FEED_LOOK_BACK: Duration = Duration::from_secs(15);

/// When nothing was heard of a partition for so long, answers are not complete: its reader speaks every [`LAG_INTERVAL`].
pub const FEED_SILENCE_MAX: Duration = Duration::from_secs(5);

/// Largest notice of a feed between processes, in bytes: a larger one is not told, and its tail has a gap until it is committed.
pub const FEED_NOTICE_BYTES_MAX: usize = 64 << 20;

/// Largest message of a feed, where the broker does not say what it takes: less than any broker's default.
pub const FEED_MESSAGE_BYTES_MAX: usize = 1_000_000;

/// Processes whose unfinished notices a listener keeps.
pub const FEED_TELLERS_MAX: usize = 64;

/// Notices that wait for the broker of a feed, in KiB; when it takes no more they are given up, since nothing may wait for them.
pub const FEED_QUEUE_KIB_MAX: u32 = 32 << 10;

/// How long a notice waits for the broker of a feed before it is given up.
pub const FEED_NOTICE_AGE_MAX: Duration = Duration::from_secs(5);

/// Time between two tries to open a feed's topic, and between two warnings of the same trouble with it.
pub const FEED_PAUSE: Duration = Duration::from_secs(5);

/// Longest name of a producer, in bytes: it is a key of the log's database.
pub const PRODUCER_LENGTH_MAX: usize = 256;

/// Most records of one run that a subscription returns: bounds the latency of a fold.
pub const LOG_RUN_RECORDS_MAX: usize = 16_384;

/// Most bytes of keys, headers and values of one run that a subscription returns. A larger record comes alone.
pub const LOG_RUN_BYTES_MAX: usize = 4 << 20;

/// Largest record that the embedded log takes, in bytes of key, headers and value: it is written and read in memory.
pub const LOG_RECORD_BYTES_MAX: usize = 64 << 20;

/// Records of Kafka that wait in librdkafka, over all partitions of a source, in KiB, unless the pipeline file says otherwise.
pub const KAFKA_QUEUE_KIB_MAX: u32 = 64 << 10;

/// Runs of records of Kafka that wait for the speed layer before no more are taken out of librdkafka's queue.
pub const KAFKA_RUNS_WAITING_MAX: usize = 4;

/// How long a question to Kafka's brokers may take.
pub const KAFKA_TIMEOUT: Duration = Duration::from_secs(30);

/// After this time a question is asked again, until [`KAFKA_TIMEOUT`]: between two askings it is seen whether there is any use.
pub const KAFKA_ATTEMPT: Duration = Duration::from_secs(2);

/// How often Kafka is asked whether what was committed can be read already. It can within a few milliseconds.
pub const KAFKA_VISIBLE_ATTEMPTS_MAX: u32 = 10_000;

/// Bytes of records after which the log's writer gathers no more appends for one fsync or transaction.
pub const LOG_GROUP_BYTES_MAX: usize = 16 << 20;

/// Appends that wait for the embedded log's writer before the next one waits to be let in.
pub const LOG_APPENDS_WAITING_MAX: usize = 1024;

/// Records of one partition of the embedded log that are kept in memory before they are written to a table: they are in the
/// journal already. Also how finely a trim gives space back.
pub const LOG_TABLE_BYTES: u64 = 16 << 20;

/// Blocks of the embedded log's tables that are kept in memory. Small, since what is read was mostly just written.
pub const LOG_CACHE_BYTES: u64 = 8 << 20;

/// The embedded log's journals together, over all topics: above it, partitions that hold up the oldest one are written to
/// tables. The least that fjall allows.
pub const LOG_JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// Most JSON arrays and objects open at once in a record's value, the record's own object among them (as in serde_json):
/// what is nested deeper is a dead letter, not a stack overflow.
pub const JSON_DEPTH_MAX: u32 = 127;

/// Largest schema that is taken from a registry, in bytes of its answer.
pub const SCHEMA_BYTES_MAX: usize = 16 << 20;

/// Most schemas that one schema refers to, directly or not.
pub const SCHEMA_REFERENCES_MAX: usize = 1_000;

/// Ids of schemas that the registry does not know, or that do not fit, that a decoder remembers: broken records may name any.
/// Beyond, they are forgotten and asked for again.
pub const SCHEMAS_REFUSED_MAX: usize = 4_096;

/// Most fields of a CSV line: each is kept for the length of a record.
pub const COLUMNS_MAX: usize = 4096;

/// Most steps of a column's path: each is a level of recursion of the decoder.
pub const PATH_STEPS_MAX: usize = 16;

/// Most distinct values of a string column that the decoder gives codes to: half the rows of the longest run, beyond which
/// codes save nothing.
pub const DICTIONARY_TEXTS_MAX: usize = LOG_RUN_RECORDS_MAX / 2;

/// Most bytes of these values together: they are copied for each run that brings a new one.
pub const DICTIONARY_BYTES_MAX: usize = 512 << 10;

/// The first timestamp of an event, microseconds since 1970-01-01 UTC: 0001-01-01T00:00:00Z. Delta, Spark and Parquet
/// readers agree on the years 1 to 9999 only.
pub const TIMESTAMP_US_MIN: i64 = -62_135_596_800_000_000;

/// The last timestamp of an event, microseconds since 1970-01-01 UTC: 9999-12-31T23:59:59.999999Z.
pub const TIMESTAMP_US_MAX: i64 = 253_402_300_799_999_999;

/// Most characters of a value that a dead letter's detail quotes; the letter has the whole value anyway.
pub const EXCERPT_CHARS_MAX: usize = 64;

/// Text files up to this size are read once before a replay, to count their rows for the progress bar.
pub const REPLAY_COUNTED_BYTES_MAX: u64 = 256 << 20;

/// Rows of a Parquet file that a replay holds in memory.
pub const REPLAY_BATCH_ROWS: usize = 4096;

/// The most rows of one answer, and how many there are if no limit is asked: some ten megabytes of JSON.
pub const QUERY_ROWS_MAX: usize = 100_000;

/// The most groups that one query makes: bounds its memory, at some hundred bytes a group, more with sketches.
pub const QUERY_GROUPS_MAX: usize = 1_000_000;

/// The shortest time between two messages of live push about one question: four a second.
pub const LIVE_INTERVAL: Duration = Duration::from_millis(250);

/// Messages about one question that are kept for listeners: who is further behind begins again.
pub const LIVE_MESSAGES_MAX: usize = 16;

/// Most listeners of live push in one process: each holds a socket.
pub const LIVE_READERS_MAX: usize = 10_000;

/// A listener that nothing is told hears this often that the stream is alive.
pub const LIVE_HEARTBEAT: Duration = Duration::from_secs(15);

/// Stack of a thread that runs a SQL statement: Polars goes through its plans by recursion.
pub const SQL_STACK_BYTES: usize = 32 << 20;

/// Rows of a table below which a query reads them as they are: rolling up would gain microseconds.
pub const ROLL_UP_ROWS_MIN: usize = 1_024;

/// How many times fewer rows a roll-up of a table must have to be kept.
pub const ROLL_UP_RATIO: usize = 8;

/// Most roll-ups of one table: with [`ROLL_UP_RATIO`] they take at most about twice the memory of the table.
pub const ROLL_UPS_MAX: usize = 16;

/// The most groups that a query's `top` keeps: more are an order and a limit.
pub const TOP_GROUPS_MAX: usize = 1_000;

/// Sets of tiers that cursors hold, of one generation: they share all that did not change between them.
pub const CURSORS_HELD_MAX: usize = 64;

/// How long a query that comes before anything can be answered waits for it: a process that has just started mostly takes less.
pub const CATCH_UP_PATIENCE: Duration = Duration::from_secs(1);

/// Rows that a query may go through on the thread that it came in by, in a fraction of a millisecond; one of more is handed to
/// another thread, which costs two waits for a core.
pub const QUERY_LIGHT_ROWS_MAX: usize = 8_192;

/// The longest body of a query, in bytes: a query is a few lines.
pub const QUERY_BYTES_MAX: usize = 64 << 10;

/// How long a query may wait and compute.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Queries per core that are computed at the same time; more wait. They are CPU work: more would only all be slower.
pub const QUERIES_PER_CORE_MAX: usize = 2;

/// How long requests on their way may take to be answered when the server stops.
pub const HTTP_DRAIN_MAX: Duration = Duration::from_secs(10);

/// The longest time that a request's body may take to arrive: a client that trickles holds memory.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long answers of a process that was ready may miss something before `/readyz` says so: a partition that moves to another
/// reader, and a speed layer that starts again, take some seconds.
pub const READY_GRACE: Duration = Duration::from_secs(30);

/// How often serving looks for what the last audit found: one LIST and one GET each.
pub const VERDICT_INTERVAL: Duration = Duration::from_secs(30);

/// Connections of one port at a time, unless the pipeline file says otherwise: each holds a socket and some buffers.
pub const CONNECTIONS_MAX: usize = 10_000;

/// The longest time that the head of a request may take to arrive, and that a connection may be idle.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time that a client may take to begin: its TLS handshake, its name and password.
pub const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time that a client may take none of what it is sent: it is gone, or holds memory on purpose.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(60);

/// Statements and portals that one connection may keep prepared.
pub const STATEMENTS_MAX: usize = 1_000;

/// Messages of one connection that are taken while a statement runs: reading on is how a client that leaves is noticed.
pub const MESSAGES_AHEAD_MAX: usize = 64;

/// Time between two looks whether the files of a certificate changed.
pub const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(60);

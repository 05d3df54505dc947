"""One engine computes the three views of a comparison from the dataset's Parquet files and writes each as Parquet.

`peers.py ENGINE COMPARISON FILES OUTPUT` with a glob of files and a folder prints one line of JSON: wall and CPU seconds from the
first query to the last byte written (neither start nor imports count), and the largest resident set in bytes. The measures are
those of `COMPARISON/views/*.sql`; sketches are the engine's own of the same size (HyperLogLog of about 2^12 registers, quantiles
of about 1 %), except that Polars has exact quantiles only.
"""

import json
import os
import sys
import time
from pathlib import Path

THREADS = 2
os.environ["POLARS_MAX_THREADS"] = str(THREADS)

# By view: grain, time column, dimensions, exact measures, column of distinct values, column and names of quantiles.
COMPARISONS = {
    "events": {
        "by_minute": ("minute", "ts", ["country", "device"],
                      {"n": ("count", None), "amount": ("sum", "amount"), "fastest": ("min", "latency_ms"),
                       "slowest": ("max", "latency_ms"), "mean_latency": ("avg", "latency_ms")}, None, None),
        "pages_by_hour": ("hour", "ts", ["page"], {"n": ("count", None)}, ("users", "user_id"),
                          ("latency_ms", {"p50": 0.5, "p95": 0.95, "p99": 0.99})),
        "users_by_day": ("day", "ts", ["user_id"], {"n": ("count", None), "amount": ("sum", "amount")}, None, None),
    },
    "flights": {
        "origins_by_hour": ("hour", "departed_at", ["origin"],
                            {"n": ("count", None), "delay": ("sum", "delay"), "earliest": ("min", "delay"),
                             "latest": ("max", "delay"), "mean_distance": ("avg", "distance")}, None, None),
        "origins_by_day": ("day", "departed_at", ["origin"], {"n": ("count", None)}, ("destinations", "destination"),
                           ("delay", {"p50": 0.5, "p95": 0.95})),
        "routes_by_day": ("day", "departed_at", ["origin", "destination"],
                          {"n": ("count", None), "distance": ("sum", "distance"), "mean_delay": ("avg", "delay")}, None, None),
    },
}


def columns(dimensions, exact, distinct, quantiles, count_distinct, percentiles):
    """What SQL selects of the rows of a group, and of that what it answers."""
    of_rows = [f"{function}({column or '*'}) AS {name}" for name, (function, column) in exact.items()]
    answered = ["bucket", *dimensions, *exact]
    if distinct:
        of_rows.append(f"{count_distinct}({distinct[1]}) AS {distinct[0]}")
        answered.append(distinct[0])
    if quantiles:
        of_rows.append(percentiles(quantiles[0], list(quantiles[1].values())) + " AS q")
        answered += [f"q[{at}] AS {name}" for at, name in enumerate(quantiles[1], 1)]
    return ", ".join(dimensions + of_rows), ", ".join(answered)


def duckdb(files, output):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {THREADS}; SET preserve_insertion_order = false; SET TimeZone = 'UTC'")

    def run(view, grain, time_column, dimensions, exact, distinct, quantiles):
        # Truncating a time stamp with a zone goes by a calendar library; one without is as fast as it gets.
        bucket = f"date_trunc('{grain}', make_timestamp(epoch_us({time_column})))"
        of_rows, answered = columns(
            dimensions, exact, distinct, quantiles, "approx_count_distinct", lambda column, q: f"approx_quantile({column}, {q})")
        connection.execute(
            f"COPY (SELECT {answered} FROM (SELECT {bucket} AS bucket,"
            f" {of_rows} FROM read_parquet('{files}', hive_partitioning = false)"
            f" GROUP BY bucket, {', '.join(dimensions)})) TO '{output}/{view}.parquet' (FORMAT parquet, COMPRESSION zstd)")

    return run


def clickhouse(files, output):
    from chdb import session

    engine = session.Session()

    def run(view, grain, time_column, dimensions, exact, distinct, quantiles):
        of_rows, answered = columns(
            dimensions, exact, distinct, quantiles, "uniqCombined(12)",
            lambda column, q: f"quantilesTDigest({', '.join(map(str, q))})({column})")
        # An average named as its column would be taken for it in the other expressions.
        engine.query(
            f"INSERT INTO FUNCTION file('{output}/{view}.parquet', Parquet) SELECT {answered} FROM"
            f" (SELECT toStartOf{grain.capitalize()}({time_column}) AS bucket, {of_rows}"
            f" FROM file('{files}', Parquet) GROUP BY bucket, {', '.join(dimensions)})"
            f" SETTINGS max_threads = {THREADS}, use_hive_partitioning = 0, prefer_column_name_to_alias = 1,"
            f" output_format_parquet_compression_method = 'zstd'")

    return run


def polars(files, output):
    import polars as pl

    every = {"minute": "1m", "hour": "1h", "day": "1d"}
    functions = {"sum": pl.Expr.sum, "min": pl.Expr.min, "max": pl.Expr.max, "avg": pl.Expr.mean}

    def run(view, grain, time_column, dimensions, exact, distinct, quantiles):
        of_rows = [
            (functions[function](pl.col(column)) if column else pl.len()).alias(name)
            for name, (function, column) in exact.items()
        ]
        if distinct:
            of_rows.append(pl.col(distinct[1]).approx_n_unique().alias(distinct[0]))
        if quantiles:
            # Equiprobable is the definition of the other engines, SQL's percentile_disc.
            of_rows += [pl.col(quantiles[0]).quantile(q, "equiprobable").alias(name) for name, q in quantiles[1].items()]
        rows = pl.scan_parquet(files, hive_partitioning=False)
        groups = rows.group_by(pl.col(time_column).dt.truncate(every[grain]).alias("bucket"), *dimensions).agg(of_rows)
        groups.sink_parquet(f"{output}/{view}.parquet", compression="zstd", engine="streaming")

    return run


def peak_bytes():
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    engine, comparison, files, output = sys.argv[1:]
    views = COMPARISONS[comparison]
    run = {"duckdb": duckdb, "clickhouse": clickhouse, "polars": polars}[engine](files, output)
    wall, cpu, by_view = time.perf_counter(), time.process_time(), {}
    for view, question in views.items():
        started = time.perf_counter()
        run(view, *question)
        by_view[view] = time.perf_counter() - started
    print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "rss_bytes": peak_bytes(), "views": by_view}), flush=True)
    os._exit(0)

"""What `run` needs Arrow, DuckDB and ClickHouse for: `make` the rows, `answers` to compare, and the `time` that each peer takes."""

import json
import sys
import time


def make(first, hours, *more):
    """An event for each hour and each value of three dimensions, as Parquet; and events to send, without order, as NDJSON."""
    import random

    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    *values, rows, live = more
    values = [int(value) for value in values]
    groups = values[0] * values[1] * values[2]
    names = [pa.array([f"{at:02}" for at in range(count)]) for count in values]
    group = pa.array(range(groups))
    divide = lambda by, count: pc.subtract(pc.divide(group, by), pc.multiply(pc.divide(pc.divide(group, by), count), count))
    places = [divide(values[1] * values[2], values[0]), divide(values[2], values[1]), divide(1, values[2])]
    taken = [name.take(place) for name, place in zip(names, places)]
    columns = ["carrier", "origin", "dest"]
    fields = [("departed_at", pa.timestamp("us", tz="UTC")), *((name, pa.string()) for name in columns), ("delay", pa.int64())]
    chance = random.Random(7)
    delays = [chance.randrange(-40, 300) for _ in range(1 << 16)]
    with pq.ParquetWriter(rows, pa.schema(fields)) as writer:
        for hour in range(int(hours)):
            at = pa.array([(int(first) + hour * 3600 + 1) * 1_000_000] * groups, pa.timestamp("us", tz="UTC"))
            shift = chance.randrange(len(delays))
            delay = pa.array([delays[(shift + at_) % len(delays)] for at_ in range(groups)], pa.int64())
            writer.write_table(pa.table([at, *taken, delay], schema=pa.schema(fields)))
    with open(live, "w") as file:
        for number in range(100_000):
            event = {"departed_at": "2026-01-01T00:00:00Z"} | {name: f"{chance.randrange(count):02}" for name, count in zip(columns, values)}
            file.write(json.dumps(event | {"delay": delays[number % len(delays)]}, separators=(",", ":")) + "\n")


# Groups with their states: what Highwater holds too.
STATES = "count(*)::BIGINT departures, sum(delay)::BIGINT delays, max(delay) greatest"
FINISHED = "sum(departures)::BIGINT departures, sum(delays) / sum(departures) mean_delay, max(greatest) greatest_delay"


def duckdb(rows):
    import duckdb

    engine = duckdb.connect(config={"threads": 2})
    engine.execute("SET TimeZone = 'UTC'")
    engine.execute(f"""CREATE TABLE delays AS SELECT date_trunc('hour', departed_at)::TIMESTAMP AS hour, carrier, origin, dest, {STATES}
        FROM '{rows}' GROUP BY ALL ORDER BY ALL""")

    def ask(start, end, dimension):
        return engine.execute(
            f"""SELECT {dimension}, {FINISHED} FROM delays WHERE hour >= to_timestamp({start})::TIMESTAMP AND hour < to_timestamp({end})::TIMESTAMP
            GROUP BY {dimension} ORDER BY {dimension}""").fetchall()

    return ask


def clickhouse(rows):
    import chdb.session

    engine = chdb.session.Session()
    engine.query("CREATE DATABASE IF NOT EXISTS bench")
    engine.query("""CREATE TABLE bench.delays (hour DateTime('UTC'), carrier LowCardinality(String), origin LowCardinality(String),
        dest LowCardinality(String), departures Int64, delays Int64, greatest Int64) ENGINE = MergeTree ORDER BY (hour, carrier, origin, dest)""")
    engine.query(f"""INSERT INTO bench.delays SELECT toStartOfHour(departed_at) AS hour, carrier, origin, dest, count(), sum(delay), max(delay)
        FROM file('{rows}', Parquet) GROUP BY hour, carrier, origin, dest""")
    engine.query("OPTIMIZE TABLE bench.delays FINAL")

    def ask(start, end, dimension):
        return engine.query(
            f"""SELECT {dimension}, sum(departures), sum(delays) / sum(departures), max(greatest) FROM bench.delays
            WHERE hour >= toDateTime({int(start)}) AND hour < toDateTime({int(end)}) GROUP BY {dimension} ORDER BY {dimension}
            SETTINGS max_threads = 2""", "JSONCompact").bytes()

    return ask


def timed(ask, questions):
    for question in questions[:50]:
        ask(*question)
    took, cpu, begun = [], time.process_time(), time.perf_counter()
    for question in questions:
        began = time.perf_counter()
        ask(*question)
        took.append(int((time.perf_counter() - began) * 1e6))
        if time.perf_counter() - begun > 10:
            break
    cpu = (time.process_time() - cpu) * 1e6 / len(took)
    took.sort()
    at = lambda part: took[int((len(took) - 1) * part)]
    return {"requests": len(took), "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99), "cpu_us_per_request": round(cpu)}


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "make":
        make(*arguments)
    else:
        questions = json.load(sys.stdin)
        if what == "answers":
            ask = duckdb(arguments[0])
            print(json.dumps([ask(*question) for question in questions]))
        else:
            print(json.dumps({"duckdb": timed(duckdb(arguments[0]), questions), "clickhouse": timed(clickhouse(arguments[0]), questions)}))

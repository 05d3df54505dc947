"""Makes the data of the comparison as Parquet files: `generate.py events|flights FOLDER ROWS`.

events   page views: skewed users, pages and countries, 20 s of jitter, one in a thousand up to ten minutes late. A week's worth.
flights  the three million flights of vega-datasets (npm), half a year of them, again and again with later dates.

The same arguments give the same rows on every machine.
"""

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FILES = 16
DAY_US = 86_400_000_000
# 2026-09-21T00:00:00Z
START_US = 1_790_000_000_000_000 // DAY_US * DAY_US
SPAN_US = 7 * DAY_US

PAGES, USERS = 2_000, 2_000_000


def zipf(n, exponent):
    weights = 1.0 / np.arange(1, n + 1) ** exponent
    return np.cumsum(weights) / weights.sum()


def pick(random, cumulated, n):
    return np.minimum(np.searchsorted(cumulated, random.random(n)), len(cumulated) - 1).astype(np.int32)


def decimals(cents, precision):
    """int64 hundredths as a decimal(precision, 2) column."""
    pairs = np.stack([cents, cents >> 63], axis=1)
    return pa.Array.from_buffers(pa.decimal128(precision, 2), len(cents), [None, pa.py_buffer(pairs.tobytes())])


class Events:
    """Everything that all files share."""

    def __init__(self):
        random = np.random.default_rng(7)
        self.users = random.permutation(USERS).astype(np.int64) * 1_000_003 + 10_000_000_019
        self.user, self.page, self.country = zipf(USERS, 0.9), zipf(PAGES, 1.0), zipf(60, 1.2)
        self.device, self.status = np.cumsum([0.55, 0.3, 0.1, 0.05]), np.cumsum([0.93, 0.02, 0.02, 0.02, 0.01])
        countries = [a + b for a in "ABCDEFGH" for b in "CEGIKMOQ"][:60]
        random.shuffle(countries)
        sections = ["home", "search", "product", "cart", "checkout", "account", "help", "blog", "category", "deals"]
        pages = [f"/{sections[i % 10]}/{'item-' if i % 3 else 'p/'}{i * 7919 % 100000:05d}" for i in range(PAGES)]
        random.shuffle(pages)
        self.countries, self.pages = pa.array(countries), pa.array(pages)
        self.devices, self.statuses = pa.array(["mobile", "desktop", "tablet", "tv"]), np.array([200, 304, 404, 302, 500])

    def file(self, number, rows, total):
        random = np.random.default_rng(1000 + number)
        due = START_US + (np.arange(rows, dtype=np.float64) + number * (total // FILES)) * (SPAN_US / total)
        jitter = random.integers(-20_000, 20_001, rows)
        late = random.random(rows) < 0.001
        jitter[late] = -random.integers(0, 600_000, late.sum())
        times = np.clip(due.astype(np.int64) // 1000 * 1000 + jitter * 1000, START_US, START_US + SPAN_US - 1)
        text = lambda cumulated, values: pa.DictionaryArray.from_arrays(pick(random, cumulated, rows), values).cast(pa.string())
        cheap = random.random(rows) * 5
        amount = np.where(random.random(rows) < 0.3, np.exp(random.normal(3.0, 1.0, rows)), cheap)
        return pa.table({
            "ts": pa.array(times, pa.timestamp("us", "UTC")),
            "user_id": self.users[pick(random, self.user, rows)],
            "country": text(self.country, self.countries),
            "page": text(self.page, self.pages),
            "device": text(self.device, self.devices),
            "status": self.statuses[pick(random, self.status, rows)],
            "latency_ms": np.minimum(np.exp(random.normal(4.2, 0.8, rows)), 60_000).astype(np.int64) + 1,
            "amount": decimals(np.rint(amount * 100).astype(np.int64), 12),
        })


def make_events(folder, rows):
    events, size = Events(), rows // FILES
    for number in range(FILES):
        pq.write_table(events.file(number, size, rows), folder / f"{number:02}.parquet", compression="snappy")


def vega_flights():
    with tempfile.TemporaryDirectory() as scratch:
        packed = subprocess.run(["npm", "pack", "--silent", "vega-datasets@3.2.1"], cwd=scratch, check=True, capture_output=True, text=True)
        with tarfile.open(Path(scratch) / packed.stdout.strip().splitlines()[-1]) as package:
            return pq.read_table(io.BytesIO(package.extractfile("package/data/flights-3m.parquet").read()))


def make_flights(folder, rows):
    flights = vega_flights()
    times = flights["date"].to_numpy().astype("datetime64[us]").astype(np.int64)
    days = int((times.max() - times.min()) // DAY_US + 1)
    for number in range(-(-rows // len(flights))):
        table = pa.table({
            "departed_at": pa.array(times + number * days * DAY_US, pa.timestamp("us", "UTC")),
            "delay": flights["delay"],
            "distance": flights["distance"],
            "origin": pc.cast(flights["origin"], pa.string()),
            "destination": pc.cast(flights["destination"], pa.string()),
        })
        pq.write_table(table, folder / f"{number:02}.parquet", compression="snappy")


if __name__ == "__main__":
    kind, folder, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True)
    {"events": make_events, "flights": make_flights}[kind](folder, rows)

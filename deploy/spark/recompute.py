"""Runs a recompute or an advance of Highwater on Spark: plan here, map and reduce tasks on the executors, publish here.

    spark-submit deploy/spark/recompute.py --pipeline /shared/pipeline.toml [-- --view sales --from 2026-01-01T00:00:00Z]

Spark only hands out lines, through `pipe`: each line is a task, each partition of lines a process of `highwater batch map -`.
The tasks read and write the store themselves. Every machine has the program, the pipeline file and its views at the same
paths, and reaches the store. Retries and speculative copies of tasks change nothing, so both may be switched on. What is
after `--` goes to `highwater batch plan`. Exits with the code of the step that failed, as `highwater batch --help` lists them.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys

from pyspark.sql import SparkSession


def main() -> int:
    arguments = parser().parse_args()
    program = [arguments.highwater, "--pipeline", arguments.pipeline, "batch"]

    planned = subprocess.run([*program, "plan", "--json", *arguments.plan], stdout=subprocess.PIPE, check=False)
    if planned.returncode != 0:
        return planned.returncode
    run = json.loads(planned.stdout)

    spark = SparkSession.builder.appName(f"highwater {run['run'][:8]}").getOrCreate()
    try:
        for kind in ("map", "reduce"):
            finished = do(spark, program, kind, run[kind])
            print(f"{kind}: {finished} of {len(run[kind])} tasks finished", file=sys.stderr)
    finally:
        spark.stop()

    # It refuses, and names them, if any task is unfinished.
    options = ["--json"] if arguments.json else []
    return subprocess.run([*program, "publish", run["run"], *options], check=False).returncode


def do(spark: SparkSession, program: list[str], kind: str, tasks: list[str]) -> int:
    """Does `tasks` on the executors and returns how many were told to be finished."""
    if not tasks:
        return 0
    # One task a partition: Spark sees each, shows it, and tries it again alone. One core each, as Spark counts.
    lines = spark.sparkContext.parallelize(tasks, len(tasks))
    command = shlex.join([*program, kind, "-", "--cores", "1"])
    # `checkCode` makes a Spark task fail, and be tried again, when its process ends with anything but 0.
    return lines.pipe(command, env=dict(os.environ), checkCode=True).count()


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", default="pipeline.toml", help="the pipeline file, at the same path on all machines")
    parser.add_argument("--highwater", default="highwater", help="the program, at the same path on all machines")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("plan", nargs="*", help="after `--`: options of `highwater batch plan`")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""psycopg and SQLAlchemy against a server at the address given; prints what they find as JSON."""

import datetime, decimal, json, sys

import psycopg
import sqlalchemy as sa

port = sys.argv[1]
found = {}

with psycopg.connect(f"host=127.0.0.1 port={port} user=any dbname=views", autocommit=True) as connection:
    found["version"] = connection.info.server_version
    from_ = datetime.datetime(2013, 2, 1, tzinfo=datetime.timezone.utc)
    asked = "SELECT carrier, MEASURE(departures), MEASURE(mean_delay), MEASURE(fares) FROM delays WHERE hour >= %s AND origin = %s GROUP BY carrier ORDER BY carrier"
    text = connection.execute(asked, [from_, "JFK"]).fetchall()
    binary = connection.execute(asked, [from_, "JFK"], binary=True).fetchall()
    assert text == binary, (text, binary)
    assert all(isinstance(row[3], decimal.Decimal) for row in text), text
    found["rows"] = [[row[0], row[1]] for row in text]
    hour = connection.execute("SELECT hour FROM totals ORDER BY hour LIMIT 1", binary=True).fetchone()[0]
    found["hour"] = hour.astimezone(datetime.timezone.utc).isoformat()
    # A statement is prepared at its sixth time, and every one after is only executed.
    for _ in range(8):
        assert connection.execute("SELECT sum(departures) FROM delays WHERE origin <> %s", ["X"], prepare=True).fetchone()[0] == 120
    for sql in ["INSERT INTO delays VALUES (1)", "SELECT * FROM delay", "SELECT * FROM delays WHERE", "SELECT nothing FROM delays"]:
        try:
            connection.execute(sql)
        except psycopg.Error as error:
            found.setdefault("errors", []).append([error.sqlstate, error.diag.statement_position])

engine = sa.create_engine(f"postgresql+psycopg://any@127.0.0.1:{port}/views")
inspector = sa.inspect(engine)
found["schemas"] = inspector.get_schema_names()
found["tables"] = sorted(inspector.get_table_names())
found["columns"] = [[column["name"], str(column["type"])] for column in inspector.get_columns("delays")]
found["keys"] = [inspector.get_pk_constraint("delays")["constrained_columns"], inspector.get_foreign_keys("delays"), inspector.get_indexes("delays")]
metadata = sa.MetaData()
metadata.reflect(engine)
delays = metadata.tables["delays"]
with engine.connect() as connection:
    query = sa.select(delays.c.origin, sa.func.sum(delays.c.departures)).where(delays.c.origin.in_(["JFK", "LGA"]))
    rows = connection.execute(query.group_by(delays.c.origin).order_by(delays.c.origin)).all()
    found["sums"] = [[origin, int(sum)] for origin, sum in rows]
    try:
        connection.execute(sa.text("SELECT 1 FROM nowhere"))
    except sa.exc.ProgrammingError:
        connection.rollback()
    found["after"] = connection.execute(sa.text("SELECT 1")).scalar()
print(json.dumps(found))

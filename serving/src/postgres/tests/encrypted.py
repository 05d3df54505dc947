"""psycopg with TLS and a password, as given: port, certificate of the authority, password; prints what becomes of it."""

import json, sys

import psycopg

port, authority, password = sys.argv[1:]
found = []
for how in [
    f"sslmode=verify-full sslrootcert={authority} password={password}",
    f"sslmode=verify-full sslrootcert={authority} password=wrong",
    f"sslmode=verify-full sslrootcert={authority} password={password} user=nobody",
    f"sslmode=disable password={password}",
]:
    user = "" if "user=" in how else "user=board"
    try:
        with psycopg.connect(f"host=localhost port={port} dbname=views gssencmode=disable {user} {how}") as connection:
            tables = connection.execute("SELECT relname FROM pg_class ORDER BY 1").fetchall()
            total = connection.execute("SELECT sum(departures) FROM totals").fetchone()[0]
            try:
                connection.execute("SELECT * FROM delays")
            except psycopg.Error as error:
                found.append([[name for name, in tables], int(total), error.sqlstate])
    except psycopg.OperationalError as error:
        found.append(str(error).splitlines()[0].split("FATAL: ")[-1].strip())
print(json.dumps(found))

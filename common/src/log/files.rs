//! Files as records: NDJSON, CSV and Parquet rows become JSON values, for `replay`.

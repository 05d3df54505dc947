CREATE VIEW pages_by_hour AS
SELECT date_trunc('hour', ts)               AS hour,
       page,
       count(*)                             AS n,
       approx_distinct(user_id)             AS users,
       approx_percentile(latency_ms, 0.5)   AS p50,
       approx_percentile(latency_ms, 0.95)  AS p95,
       approx_percentile(latency_ms, 0.99)  AS p99
FROM events
GROUP BY hour, page;

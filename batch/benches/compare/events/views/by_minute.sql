CREATE VIEW by_minute AS
SELECT date_trunc('minute', ts) AS minute,
       country,
       device,
       count(*)                 AS n,
       sum(amount)              AS amount,
       min(latency_ms)          AS fastest,
       max(latency_ms)          AS slowest,
       avg(latency_ms)          AS mean_latency
FROM events
GROUP BY minute, country, device;

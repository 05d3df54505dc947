CREATE VIEW origins_by_day AS
SELECT date_trunc('day', departed_at)  AS day,
       origin,
       count(*)                        AS n,
       approx_distinct(destination)    AS destinations,
       approx_percentile(delay, 0.5)   AS p50,
       approx_percentile(delay, 0.95)  AS p95
FROM flights
GROUP BY day, origin;

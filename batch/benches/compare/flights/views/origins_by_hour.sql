CREATE VIEW origins_by_hour AS
SELECT date_trunc('hour', departed_at) AS hour,
       origin,
       count(*)                        AS n,
       sum(delay)                      AS delay,
       min(delay)                      AS earliest,
       max(delay)                      AS latest,
       avg(distance)                   AS mean_distance
FROM flights
GROUP BY hour, origin;

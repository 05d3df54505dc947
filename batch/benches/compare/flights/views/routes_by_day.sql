CREATE VIEW routes_by_day AS
SELECT date_trunc('day', departed_at) AS day,
       origin,
       destination,
       count(*)                       AS n,
       sum(distance)                  AS distance,
       avg(delay)                     AS mean_delay
FROM flights
GROUP BY day, origin, destination;

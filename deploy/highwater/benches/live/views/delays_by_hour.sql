CREATE VIEW delays_by_hour AS
SELECT date_trunc('hour', departed_at) AS hour, origin, destination,
       count(delay_minutes) AS departures, max(delay_minutes) AS worst,
       approx_percentile(delay_minutes, 0.95) AS p95_delay
FROM departures
GROUP BY hour, origin, destination;

CREATE VIEW departures_by_minute AS
SELECT date_trunc('minute', departed_at) AS minute, carrier, origin,
       count(*) AS departures, sum(distance_miles) AS miles, avg(delay_minutes) AS mean_delay
FROM departures
GROUP BY minute, carrier, origin;

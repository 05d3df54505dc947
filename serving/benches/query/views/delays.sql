CREATE VIEW delays AS
SELECT date_trunc('hour', departed_at) AS hour, carrier, origin, dest,
       count(*) AS departures, avg(delay) AS mean_delay, max(delay) AS greatest_delay
FROM flights
GROUP BY hour, carrier, origin, dest;

CREATE VIEW aircraft_by_day AS
SELECT date_trunc('day', departed_at) AS day, carrier,
       count(*) AS departures, approx_distinct(tail_number) AS aircraft
FROM departures
GROUP BY day, carrier;

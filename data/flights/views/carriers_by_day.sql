-- The day of a carrier, in flights, miles and aircraft.
CREATE VIEW carriers_by_day AS
SELECT date_trunc('day', departed_at)        AS day,
       carrier,
       cancelled,
       count(*)                              AS flights,
       sum(distance_miles)                   AS miles,
       min(destination)                      AS first_destination,
       approx_distinct(destination)          AS destinations,
       approx_distinct(tail_number)          AS aircraft,
       approx_percentile(distance_miles, 0.5) AS median_miles
FROM departures
GROUP BY day, carrier, cancelled;

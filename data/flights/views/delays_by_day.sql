-- How late flights left, day by day and airport by airport: the shape of the delays, not only their mean.
CREATE VIEW delays_by_day AS
SELECT date_trunc('day', departed_at)                             AS day,
       origin,
       count(*)                                                   AS departed,
       count(*) FILTER (WHERE delay_minutes > 15)                 AS late,
       avg(delay_minutes)                                         AS mean_delay,
       stddev(delay_minutes)                                      AS delay_spread,
       approx_percentile(delay_minutes, [0.5, 0.9, 0.99])         AS delay_percentiles,
       histogram(delay_minutes, [0, 15, 60, 180])                 AS delays,
       arg_max(carrier, delay_minutes)                            AS latest_carrier,
       arg_max(tail_number, delay_minutes)                        AS latest_aircraft,
       last(destination)                                          AS last_destination,
       approx_top_k(destination, 5)                               AS top_destinations,
       approx_top_k(carrier, 3) FILTER (WHERE delay_minutes > 60) AS latest_carriers
FROM departures
WHERE NOT cancelled
GROUP BY day, origin;

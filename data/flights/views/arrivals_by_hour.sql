-- What arrived, by the hour in which it had departed: an event of a flight to Honolulu comes eleven hours late.
CREATE VIEW arrivals_by_hour AS
SELECT date_trunc('hour', departed_at)    AS hour,
       carrier,
       origin,
       count(*)                           AS arrivals,
       avg(delay_minutes)                 AS mean_delay,
       sum(air_hours)                     AS air_hours,
       max(air_hours)                     AS longest_air_hours,
       avg(speed_mph)                     AS mean_speed,
       min(speed_mph)                     AS slowest,
       max(speed_mph)                     AS fastest,
       approx_percentile(speed_mph, 0.5)  AS median_speed,
       max(arrived_at)                    AS last_arrived
FROM arrivals
GROUP BY hour, carrier, origin;

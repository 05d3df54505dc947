-- What left, from where, with whom, and how late. `departures` counts flights on the timetable, `departed` those that left.
CREATE VIEW departures_by_hour AS
SELECT date_trunc('hour', departed_at)        AS hour,
       carrier,
       origin,
       count(*)                               AS departures,
       count(delay_minutes)                   AS departed,
       sum(delay_minutes)                     AS delay_minutes,
       avg(delay_minutes)                     AS mean_delay,
       max(delay_minutes)                     AS longest_delay,
       approx_percentile(delay_minutes, 0.95) AS p95_delay,
       approx_distinct(tail_number)           AS aircraft
FROM departures
GROUP BY hour, carrier, origin;

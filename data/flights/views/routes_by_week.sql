-- Each route's week from Monday to Sunday in New York: how long it takes, by the clock and in the air.
CREATE VIEW routes_by_week AS
SELECT date_trunc('week', departed_at AT TIME ZONE 'America/New_York') AS week,
       origin,
       destination,
       count(air_minutes)                                              AS flights,
       min(air_minutes)                                                AS fewest_air_minutes,
       approx_percentile(air_minutes, 0.5)                             AS median_air_minutes,
       avg(air_hours)                                                  AS mean_air_hours
FROM arrivals
GROUP BY week, origin, destination;

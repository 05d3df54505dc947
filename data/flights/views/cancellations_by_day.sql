-- Flights that never left, by the day in New York and where they were to go. Snow closed the airports on 8 and 9 February 2013.
CREATE VIEW cancellations_by_day AS
SELECT date_trunc('day', departed_at, 'America/New_York') AS day,
       origin,
       destination,
       count(*)                                           AS cancellations,
       min(scheduled_at)                                  AS first_scheduled,
       max(scheduled_at)                                  AS last_scheduled,
       approx_distinct(carrier)                           AS carriers
FROM departures
WHERE cancelled
GROUP BY day, origin, destination;

CREATE VIEW users_by_day AS
SELECT date_trunc('day', ts) AS day,
       user_id,
       count(*)              AS n,
       sum(amount)           AS amount
FROM events
GROUP BY day, user_id;

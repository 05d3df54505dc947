-- What panels ask, as `macros.go` of pkg/tsdb/grafana-postgresql-datasource in grafana/grafana expands
-- `$__timeGroupAlias(hour, '6h')`, `$__timeFilter(hour)`, `$__timeEpoch(hour)` and `$__time(hour)`.
SELECT floor(extract(epoch from hour)/21600)*21600 AS "time", origin AS metric, sum(departures) AS departures
FROM delays
WHERE hour BETWEEN '2013-02-01T00:00:00Z' AND '2013-02-03T00:00:00Z'
GROUP BY 1, 2
ORDER BY 1, 2;

SELECT extract(epoch from hour) as "time", departures FROM totals
WHERE hour BETWEEN '2013-01-31T00:00:00Z' AND '2013-02-03T00:00:00Z' ORDER BY 1;

SELECT hour AS "time", departures AS "departures" FROM public.totals ORDER BY hour LIMIT 50;

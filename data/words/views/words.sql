-- How often each word stands in each text.
CREATE VIEW words AS
SELECT date_trunc('day', at) AS day, text, word,
       count(*)   AS occurrences,
       min(line)  AS first_line
FROM words
GROUP BY day, text, word;

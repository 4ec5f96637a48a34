-- Tickets, subscriptions and assessments, by hand.
CREATE TEMP TABLE tickets AS
WITH seen AS (
    SELECT s.row, s.as_of, t.occurred_at, t.closed_at, t.severe, t.complaint, ago(t.occurred_at, s.as_of) AS ago,
           ago(t.closed_at, s.as_of) AS closed_ago,
           coalesce(t.closed_at_known_at < s.as_of AND t.closed_at < s.as_of, false) AS closed,
           t.satisfaction
    FROM spine s
    JOIN (SELECT * REPLACE (satisfaction::DECIMAL(18, 4) AS satisfaction),
                 lower(trim(severity)) IN ('high', 'critical') AS severe,
                 lower(trim(kind)) = 'complaint' AS complaint
          FROM '{tickets}') t
      ON t.customer_id = s.customer_id AND t.known_at < s.as_of
),
sums AS (
    SELECT row, any_value(as_of) AS as_of,
           count(*) FILTER (NOT closed) AS tickets_open_count,
           count(*) FILTER (severe AND NOT closed) AS tickets_severe_open_count,
           min(occurred_at) FILTER (NOT closed) AS oldest_at,
           sum(seconds(closed_at) - seconds(occurred_at)) FILTER (closed) AS waited,
           count(*) FILTER (closed) AS closed,
           sum(satisfaction) FILTER (closed) AS satisfaction,
           count(satisfaction) FILTER (closed) AS answers,
           sum(satisfaction) FILTER (closed AND closed_ago <= in_days(90)) AS satisfaction_90d,
           count(satisfaction) FILTER (closed AND closed_ago <= in_days(90)) AS answers_90d,
           count(*) FILTER (ago <= in_days(90)) AS tickets_count_90d,
           count(*) FILTER (severe AND ago <= in_days(90)) AS tickets_severe_count_90d,
           count(*) FILTER (complaint AND ago <= in_days(90)) AS tickets_complaint_count_90d,
           count(*) FILTER (ago <= in_days(365)) AS tickets_count_365d,
           count(*) FILTER (severe AND ago <= in_days(365)) AS tickets_severe_count_365d,
           count(*) FILTER (complaint AND ago <= in_days(365)) AS tickets_complaint_count_365d,
           count(*) FILTER (ago > in_days(90) AND ago <= in_days(180)) AS earlier
    FROM seen GROUP BY row
)
SELECT row,
       COLUMNS('tickets_.*')::DOUBLE,
       days(oldest_at, as_of) AS tickets_open_days_max,
       ratio(waited, closed) / 86400 AS tickets_days_to_close_mean,
       ratio(satisfaction, answers) AS tickets_satisfaction_mean,
       ratio(satisfaction_90d, answers_90d) AS tickets_satisfaction_mean_90d,
       (tickets_count_90d - earlier)::DOUBLE AS tickets_trend_90d
FROM sums;

CREATE TEMP TABLE subscriptions AS
WITH seen AS (
    SELECT s.row, s.as_of, u.occurred_at, u.mrr, u.renews_on, u.ended_at,
           coalesce(u.ended_at_known_at < s.as_of AND u.ended_at < s.as_of, false) AS ended
    FROM spine s JOIN '{subscriptions}' u
      ON u.customer_id = s.customer_id AND u.known_at < s.as_of AND (u.known_until IS NULL OR s.as_of <= u.known_until)
),
sums AS (
    SELECT row, any_value(as_of) AS as_of,
           sum(mrr) FILTER (NOT ended) AS subscriptions_mrr,
           count(*) FILTER (NOT ended) AS subscriptions_live_count,
           min(renews_on) FILTER (NOT ended AND renews_on >= as_of::DATE) AS renews_on,
           min(occurred_at) FILTER (NOT ended) AS oldest_at,
           count(*) FILTER (ended) AS subscriptions_ended_count,
           max(ended_at) FILTER (ended) AS ended_at,
           sum(mrr) FILTER (ago(occurred_at, as_of) <= in_days(90)) AS subscriptions_started_mrr_90d,
           sum(mrr) FILTER (ago(occurred_at, as_of) <= in_days(365)) AS subscriptions_started_mrr_365d,
           sum(mrr) FILTER (ended AND ago(ended_at, as_of) <= in_days(90)) AS subscriptions_ended_mrr_90d,
           sum(mrr) FILTER (ended AND ago(ended_at, as_of) <= in_days(365)) AS subscriptions_ended_mrr_365d
    FROM seen GROUP BY row
)
SELECT row,
       COLUMNS('subscriptions_.*')::DOUBLE,
       not_below(0, days(as_of, renews_on::TIMESTAMP)) AS subscriptions_days_to_renewal,
       days(oldest_at, as_of) AS subscriptions_live_days_max,
       days(ended_at, as_of) AS subscriptions_days_since_end
FROM sums;

CREATE TEMP TABLE subscription_changes AS
WITH steps AS (
    SELECT customer_id, known_at, ended_at, ended_at_known_at,
           mrr - lag(mrr) OVER (PARTITION BY customer_id, subscription_id ORDER BY known_at) AS change
    FROM '{subscriptions}' WHERE known_until IS NULL OR known_at < known_until
),
seen AS (
    SELECT s.row, u.change
    FROM spine s JOIN steps u
      ON u.customer_id = s.customer_id AND u.known_at < s.as_of AND ago(u.known_at, s.as_of) <= in_days(365)
     AND (u.ended_at_known_at IS NULL OR u.ended_at_known_at >= s.as_of OR u.known_at < u.ended_at)
    WHERE u.change <> 0
)
SELECT row,
       count(*) FILTER (change > 0)::DOUBLE AS subscriptions_upgrades_count_365d,
       sum(change) FILTER (change > 0)::DOUBLE AS subscriptions_upgrades_amount_365d,
       count(*) FILTER (change < 0)::DOUBLE AS subscriptions_downgrades_count_365d,
       sum(-change) FILTER (change < 0)::DOUBLE AS subscriptions_downgrades_amount_365d
FROM seen GROUP BY row;

CREATE TEMP TABLE assessments AS
WITH seen AS (
    SELECT s.row, s.as_of, a.occurred_at, a.question, a.answer,
           lag(a.answer) OVER asked AS previous,
           lead(true) OVER asked IS NULL AS is_latest
    FROM spine s JOIN '{assessments}' a
      ON a.entity = 'customer' AND a.entity_id = s.customer_id AND a.known_at < s.as_of
    WINDOW asked AS (PARTITION BY s.row, a.question ORDER BY a.occurred_at, a.answer)
)
SELECT row,
       count(*) FILTER (is_latest)::DOUBLE AS assessments_questions_count,
       days(max(occurred_at), any_value(as_of)) AS assessments_days_since_last,
       {answers}
FROM seen GROUP BY row;

-- The churn features of the shipped catalog, as an experienced person would write them by hand for
-- DuckDB: one range join per table, all filters in one pass. Placeholders: {customers}, {orders},
-- {activities}, {deals} are Parquet files, `spine` is a table (entity_id, as_of).
CREATE OR REPLACE TABLE by_hand AS
WITH profile AS (
    SELECT s.entity_id, s.as_of,
           (epoch(s.as_of)::BIGINT - epoch(min(c.created_at))::BIGINT) / 86400.0::DOUBLE AS customers_age_days,
           max(c.employees)::DOUBLE AS customers_employees,
           max(c.annual_revenue)::DOUBLE AS customers_annual_revenue,
           max(c.industry) AS customers_industry,
           max(c.region) AS customers_region,
           max(c.source) AS customers_source,
           max(c.credit_grade) AS customers_credit_grade
    FROM spine s JOIN '{customers}' c
      ON c.customer_id = s.entity_id AND c.known_at < s.as_of AND (c.known_until IS NULL OR s.as_of <= c.known_until)
    GROUP BY s.entity_id, s.as_of
),
ordered AS (
    SELECT s.entity_id, s.as_of, o.occurred_at, o.amount, o.quantity > 0 AS bought,
           max(CASE WHEN o.quantity > 0 THEN o.occurred_at END) OVER (
               PARTITION BY s.entity_id, s.as_of ORDER BY o.occurred_at
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS previous_at
    FROM spine s JOIN '{orders}' o ON o.customer_id = s.entity_id AND o.known_at < s.as_of
),
gaps AS (
    SELECT *,
           CASE WHEN bought AND epoch(occurred_at)::BIGINT // 86400 > epoch(previous_at)::BIGINT // 86400
                THEN epoch(occurred_at)::BIGINT // 86400 - epoch(previous_at)::BIGINT // 86400 END AS gap
    FROM ordered
),
orders AS (
    SELECT entity_id, as_of,
           count(*) FILTER (bought)::DOUBLE AS orders_count,
           coalesce(sum(amount) FILTER (bought), 0)::DOUBLE AS orders_amount,
           max(amount) FILTER (bought)::DOUBLE AS orders_amount_max,
           count(*) FILTER (NOT bought)::DOUBLE AS orders_returns_count,
           (epoch(as_of)::BIGINT - epoch(max(occurred_at) FILTER (bought))::BIGINT) / 86400.0::DOUBLE AS orders_days_since_last,
           (epoch(as_of)::BIGINT - epoch(min(occurred_at) FILTER (bought))::BIGINT) / 86400.0::DOUBLE AS orders_days_since_first,
           (epoch(max(occurred_at) FILTER (bought))::BIGINT - epoch(min(occurred_at) FILTER (bought))::BIGINT) / 86400.0::DOUBLE
               AS orders_days_first_to_last,
           {order_windows},
           count(gap)::DOUBLE AS orders_repeat_days,
           sum(gap)::DOUBLE / nullif(count(gap), 0) AS orders_gap_mean,
           max(gap)::DOUBLE AS orders_gap_max,
           CASE WHEN count(gap) > 0
                THEN sqrt(greatest(0, sum(gap * gap)::DOUBLE / count(gap) - (sum(gap)::DOUBLE / count(gap)) ** 2))
           END AS orders_gap_spread
    FROM gaps GROUP BY entity_id, as_of
),
activities AS (
    SELECT s.entity_id, s.as_of,
           count(*)::DOUBLE AS activities_count,
           count(*) FILTER (a.direction = 'inbound')::DOUBLE AS activities_inbound_count,
           (epoch(s.as_of)::BIGINT - epoch(max(a.occurred_at))::BIGINT) / 86400.0::DOUBLE AS activities_days_since_last,
           {activity_windows}
    FROM spine s JOIN '{activities}' a ON a.customer_id = s.entity_id AND a.known_at < s.as_of
    GROUP BY s.entity_id, s.as_of
),
seen AS (
    SELECT s.entity_id, s.as_of, d.amount,
           CASE WHEN d.closed_at_known_at < s.as_of THEN d.closed_at END AS closed_at,
           CASE WHEN d.closed_at_known_at < s.as_of THEN d.outcome END AS outcome
    FROM spine s JOIN '{deals}' d
      ON d.customer_id = s.entity_id AND d.known_at < s.as_of AND (d.known_until IS NULL OR s.as_of <= d.known_until)
),
deals AS (
    SELECT entity_id, as_of,
           count(*) FILTER (closed_at IS NULL)::DOUBLE AS deals_open_count,
           count(*) FILTER (outcome = 'won')::DOUBLE AS deals_won_count,
           count(*) FILTER (outcome = 'lost')::DOUBLE AS deals_lost_count,
           coalesce(sum(amount) FILTER (outcome = 'won'), 0)::DOUBLE AS deals_won_amount,
           (epoch(as_of)::BIGINT - epoch(max(closed_at) FILTER (outcome = 'won'))::BIGINT) / 86400.0::DOUBLE AS deals_days_since_won,
           count(*) FILTER (outcome = 'won' AND closed_at >= as_of - INTERVAL 365 DAY)::DOUBLE AS deals_won_count_365d,
           count(*) FILTER (outcome = 'lost' AND closed_at >= as_of - INTERVAL 365 DAY)::DOUBLE AS deals_lost_count_365d
    FROM seen GROUP BY entity_id, as_of
)
SELECT s.entity_id, s.as_of,
       p.* EXCLUDE (entity_id, as_of),
       {order_columns},
       orders_days_since_last / nullif(orders_gap_mean, 0) AS orders_silence_ratio,
       orders_days_since_last / nullif(orders_gap_max, 0) AS orders_silence_max_ratio,
       (orders_repeat_days + 1) / (greatest(orders_days_since_first, 30.0::DOUBLE) / 30.0::DOUBLE) AS orders_monthly_rate,
       orders_amount / nullif(orders_count, 0) AS orders_amount_mean,
       orders_count_90d / 3.0::DOUBLE
           / ((orders_repeat_days + 1) / (greatest(orders_days_since_first, 30.0::DOUBLE) / 30.0::DOUBLE)) AS orders_trend_90d,
       {activity_columns},
       {deal_columns}
FROM spine s
LEFT JOIN profile p USING (entity_id, as_of)
LEFT JOIN orders o USING (entity_id, as_of)
LEFT JOIN activities a USING (entity_id, as_of)
LEFT JOIN deals d USING (entity_id, as_of)
ORDER BY s.entity_id, s.as_of

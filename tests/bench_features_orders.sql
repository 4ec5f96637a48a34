-- Orders of the customer and of its family, by hand: one range join each, all filters in one pass.
CREATE TEMP TABLE orders AS
WITH ordered AS (
    SELECT s.row, s.as_of, o.occurred_at, o.amount, o.cost, o.product,
           ago(o.occurred_at, s.as_of) AS ago,
           coalesce(o.quantity, o.amount::DOUBLE) > 0 AS bought,
           seconds(o.occurred_at) // 86400 AS day,
           max(CASE WHEN coalesce(o.quantity, o.amount::DOUBLE) > 0 THEN seconds(o.occurred_at) // 86400 END) OVER (
               PARTITION BY s.row ORDER BY o.occurred_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS day_before
    FROM spine s
    JOIN (SELECT * REPLACE (lower(trim(product)) AS product) FROM '{orders}') o
      ON o.customer_id = s.customer_id AND o.known_at < s.as_of
),
gaps AS (SELECT *, CASE WHEN bought AND day > day_before THEN day - day_before END AS gap FROM ordered),
sums AS (
    SELECT row, any_value(as_of) AS as_of,
           count(*) FILTER (bought) AS orders_count,
           sum(amount) FILTER (bought) AS orders_amount,
           max(amount) FILTER (bought) AS orders_amount_max,
           count(*) FILTER (NOT bought) AS orders_returns_count,
           min(occurred_at) FILTER (bought) AS first_at,
           max(occurred_at) FILTER (bought) AS last_at,
           count(*) FILTER (bought AND ago <= in_days(30)) AS orders_count_30d,
           sum(amount) FILTER (bought AND ago <= in_days(30)) AS orders_amount_30d,
           sum(amount) FILTER (NOT bought AND ago <= in_days(30)) AS orders_returns_amount_30d,
           count(*) FILTER (bought AND ago <= in_days(90)) AS orders_count_90d,
           sum(amount) FILTER (bought AND ago <= in_days(90)) AS orders_amount_90d,
           sum(amount) FILTER (NOT bought AND ago <= in_days(90)) AS orders_returns_amount_90d,
           count(*) FILTER (bought AND ago <= in_days(180)) AS orders_count_180d,
           sum(amount) FILTER (bought AND ago <= in_days(180)) AS orders_amount_180d,
           sum(amount) FILTER (NOT bought AND ago <= in_days(180)) AS orders_returns_amount_180d,
           count(*) FILTER (bought AND ago <= in_days(365)) AS orders_count_365d,
           sum(amount) FILTER (bought AND ago <= in_days(365)) AS orders_amount_365d,
           sum(amount) FILTER (NOT bought AND ago <= in_days(365)) AS orders_returns_amount_365d,
           count(gap) AS gaps, sum(gap) AS gap_sum, max(gap) AS gap_max, sum(gap * gap) AS gap_squares,
           max(amount) FILTER (bought AND ago <= in_days(365)) AS orders_amount_max_365d,
           count(DISTINCT product) FILTER (bought AND ago <= in_days(365)) AS orders_products_count_365d,
           sum(amount - cost) AS margin,
           sum(amount) FILTER (cost IS NOT NULL) AS costed,
           sum(amount - cost) FILTER (ago <= in_days(365)) AS margin_365d,
           sum(amount) FILTER (cost IS NOT NULL AND ago <= in_days(365)) AS costed_365d,
           coalesce(sum(amount) FILTER (bought AND ago <= in_days(270)), 0) AS amount_270d,
           coalesce(sum(amount) FILTER (bought AND ago <= in_days(360)), 0) AS amount_360d,
           coalesce(sum(amount) FILTER (bought AND ago <= in_days(450)), 0) AS amount_450d,
           coalesce(sum(amount) FILTER (bought AND ago <= in_days(540)), 0) AS amount_540d,
           coalesce(sum(amount) FILTER (bought AND ago <= in_days(630)), 0) AS amount_630d,
           coalesce(sum(amount) FILTER (bought AND ago <= in_days(720)), 0) AS amount_720d,
           count(*) FILTER (bought AND ago > in_days(365) AND ago <= in_days(455)) AS orders_year_ago_count_90d,
           count(*) FILTER (bought AND ago > in_days(275) AND ago <= in_days(365)) AS orders_year_ago_ahead_count_90d,
           sum(amount) FILTER (bought AND ago > in_days(365) AND ago <= in_days(455)) AS orders_year_ago_amount_90d
    FROM gaps GROUP BY row
)
SELECT row,
       orders_count::DOUBLE AS orders_count,
       orders_amount::DOUBLE AS orders_amount,
       orders_amount_max::DOUBLE AS orders_amount_max,
       orders_returns_count::DOUBLE AS orders_returns_count,
       days(last_at, as_of) AS orders_days_since_last,
       days(first_at, as_of) AS orders_days_since_first,
       days(first_at, last_at) AS orders_days_first_to_last,
       COLUMNS('orders_(count|amount|returns_amount)_(30|90|180|365)d')::DOUBLE,
       gaps::DOUBLE AS orders_repeat_days,
       ratio(gap_sum, gaps) AS orders_gap_mean,
       gap_max::DOUBLE AS orders_gap_max,
       sqrt(not_below(0, ratio(gap_squares, gaps) - ratio(gap_sum, gaps) * ratio(gap_sum, gaps))) AS orders_gap_spread,
       orders_amount_max_365d::DOUBLE AS orders_amount_max_365d,
       orders_products_count_365d::DOUBLE AS orders_products_count_365d,
       margin::DOUBLE AS orders_margin_amount,
       CASE WHEN costed > 0 THEN ratio(margin, costed) END AS orders_margin_share,
       margin_365d::DOUBLE AS orders_margin_amount_365d,
       CASE WHEN costed_365d > 0 THEN ratio(margin_365d, costed_365d) END AS orders_margin_share_365d,
       ratio(coalesce(orders_amount_90d, 0), greatest(
           coalesce(orders_amount_90d, 0), coalesce(orders_amount_180d, 0) - coalesce(orders_amount_90d, 0),
           amount_270d - coalesce(orders_amount_180d, 0), amount_360d - amount_270d, amount_450d - amount_360d,
           amount_540d - amount_450d, amount_630d - amount_540d, amount_720d - amount_630d)) AS orders_best_share_90d,
       orders_year_ago_count_90d::DOUBLE AS orders_year_ago_count_90d,
       orders_year_ago_ahead_count_90d::DOUBLE AS orders_year_ago_ahead_count_90d,
       orders_year_ago_amount_90d::DOUBLE AS orders_year_ago_amount_90d
FROM sums;

CREATE TEMP TABLE family_orders AS
SELECT m.family_row,
       count(*) FILTER (o.bought AND ago(o.occurred_at, m.as_of) <= in_days(365))::DOUBLE AS family_orders_count_365d,
       sum(o.amount) FILTER (o.bought AND ago(o.occurred_at, m.as_of) <= in_days(365))::DOUBLE
           AS family_orders_amount_365d,
       days(max(o.occurred_at) FILTER (o.bought), any_value(m.as_of)) AS family_orders_days_since_last
FROM members m
JOIN (SELECT *, coalesce(quantity, amount::DOUBLE) > 0 AS bought FROM '{orders}') o
  ON o.customer_id = m.customer_id AND o.known_at < m.as_of
GROUP BY m.family_row;

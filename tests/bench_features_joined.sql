-- All parts beside the snapshots, and ratios of their columns, by hand.
CREATE MACRO is_zero_without_rows(c) AS
    regexp_full_match(c, '.*_(count|amount|mrr|repeat_days)(_[0-9]+d)?|tickets_trend_90d')
    AND c NOT IN ('customers_filled_count', 'customers_parent_count', 'family_members_count', 'orders_margin_amount',
                  'orders_margin_amount_365d');

CREATE TABLE by_hand AS
WITH beside AS (
    SELECT s.customer_id AS entity_id, s.as_of, p.* EXCLUDE (row, family_id), c.* EXCLUDE (row),
           h.* EXCLUDE (family_row), hc.* EXCLUDE (family_row), co.* EXCLUDE (row), o.* EXCLUDE (row),
           fo.* EXCLUDE (family_row), a.* EXCLUDE (row), i.* EXCLUDE (row), fi.* EXCLUDE (family_row), d.* EXCLUDE (row),
           fd.* EXCLUDE (family_row), t.* EXCLUDE (row), u.* EXCLUDE (row), uc.* EXCLUDE (row), q.* EXCLUDE (row)
    FROM spine s
    LEFT JOIN profile p ON p.row = s.row
    LEFT JOIN families f ON f.family_id = p.family_id AND f.as_of = s.as_of
    LEFT JOIN changes c ON c.row = s.row
    LEFT JOIN heads h ON h.family_row = f.family_row
    LEFT JOIN head_changes hc ON hc.family_row = f.family_row
    LEFT JOIN contacts co ON co.row = s.row
    LEFT JOIN orders o ON o.row = s.row
    LEFT JOIN family_orders fo ON fo.family_row = f.family_row
    LEFT JOIN activities a ON a.row = s.row
    LEFT JOIN invoices i ON i.row = s.row
    LEFT JOIN family_invoices fi ON fi.family_row = f.family_row
    LEFT JOIN deals d ON d.row = s.row
    LEFT JOIN family_deals fd ON fd.family_row = f.family_row
    LEFT JOIN tickets t ON t.row = s.row
    LEFT JOIN subscriptions u ON u.row = s.row
    LEFT JOIN subscription_changes uc ON uc.row = s.row
    LEFT JOIN assessments q ON q.row = s.row
),
filled AS (
    SELECT COLUMNS(lambda c: NOT is_zero_without_rows(c)),
           coalesce(COLUMNS(lambda c: is_zero_without_rows(c)), 0) AS '\0'
    FROM beside
)
SELECT *,
       (orders_repeat_days + 1) / (not_below(30.0::DOUBLE, orders_days_since_first) / 30.0::DOUBLE) AS orders_monthly_rate,
       CASE WHEN customers_parent_count > 0 THEN family_head_employees END AS parent_employees,
       CASE WHEN customers_parent_count > 0 THEN family_head_employees_growth_365d END AS parent_employees_growth_365d,
       CASE WHEN customers_parent_count > 0 THEN family_head_annual_revenue END AS parent_annual_revenue,
       CASE WHEN customers_parent_count > 0 THEN family_head_annual_revenue_growth_365d END
           AS parent_annual_revenue_growth_365d,
       CASE WHEN customers_parent_count > 0 THEN family_subsidiaries_count - 1
            WHEN customers_parent_count = 0 THEN 0 END AS customers_siblings_count,
       ratio(orders_days_since_last, orders_gap_mean) AS orders_silence_ratio,
       ratio(orders_days_since_last, orders_gap_max) AS orders_silence_max_ratio,
       ratio(orders_gap_spread, orders_gap_mean) AS orders_gap_variation,
       ratio(orders_days_since_last - orders_gap_mean, orders_gap_spread) AS orders_silence_spreads,
       ratio(orders_amount, orders_count) AS orders_amount_mean,
       orders_count_90d / 3.0::DOUBLE / orders_monthly_rate AS orders_trend_90d,
       ratio(orders_amount_365d, orders_count_365d) AS orders_amount_mean_365d,
       ratio(abs(orders_returns_amount_365d), orders_amount_365d) AS orders_returns_share_365d,
       ratio(orders_amount_90d, orders_year_ago_amount_90d) AS orders_year_ratio_90d,
       invoices_delay_mean_90d - invoices_delay_mean AS invoices_delay_trend_90d,
       CASE WHEN orders_amount_365d > 0 THEN tickets_count_365d / (orders_amount_365d / 1000) END
           AS tickets_per_revenue_365d,
       ratio(activities_count_30d * 3, activities_count_90d) AS activities_trend_30d,
       ratio(orders_amount_365d, family_orders_amount_365d) AS family_orders_share_365d,
       month(as_of)::DOUBLE AS calendar_month,
       isodow(as_of)::DOUBLE AS calendar_weekday,
       date_diff('day', as_of::DATE, date_trunc('month', as_of) + INTERVAL 1 MONTH) - 1.0::DOUBLE
           AS calendar_days_to_month_end,
       date_diff('day', as_of::DATE, date_trunc('quarter', as_of) + INTERVAL 3 MONTH) - 1.0::DOUBLE
           AS calendar_days_to_quarter_end
FROM filled
ORDER BY entity_id, as_of;

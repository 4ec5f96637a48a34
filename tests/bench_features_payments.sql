-- Invoices and deals, of the customer and of its family, by hand.
CREATE TEMP TABLE invoices AS
WITH seen AS (
    SELECT s.row, i.amount, i.due_at, ago(i.occurred_at, s.as_of) AS ago, ago(i.due_at, s.as_of) AS due_ago,
           s.as_of AS as_of,
           coalesce(i.paid_at_known_at < s.as_of AND i.paid_at < s.as_of, false) AS paid,
           coalesce(i.written_off_at_known_at < s.as_of AND i.written_off_at < s.as_of, false) AS written_off,
           coalesce(i.due_at < s.as_of, false) AS due,
           i.paid_at
    FROM spine s JOIN '{invoices}' i ON i.customer_id = s.customer_id AND i.known_at < s.as_of
),
stood AS (
    SELECT *, due_at IS NOT NULL AND (paid OR due) AS judged, NOT paid AND NOT written_off AS open,
           seconds(CASE WHEN paid THEN paid_at ELSE as_of END) - seconds(due_at) AS delay
    FROM seen
),
sums AS (
    SELECT row,
           count(*) AS invoices_count,
           count(*) FILTER (paid AND paid_at <= due_at) AS on_time,
           count(*) FILTER (judged) AS judged,
           sum(delay) FILTER (judged) AS delay,
           max(delay) FILTER (judged) AS longest,
           sum(delay) FILTER (due AND due_ago <= in_days(90)) AS delay_90d,
           count(*) FILTER (due AND due_ago <= in_days(90)) AS due_90d,
           sum(delay) FILTER (due AND due_ago <= in_days(365)) AS delay_365d,
           count(*) FILTER (due AND due_ago <= in_days(365)) AS due_365d,
           sum(amount) FILTER (open) AS invoices_open_amount,
           count(*) FILTER (open AND due) AS invoices_overdue_count,
           sum(amount) FILTER (open AND due) AS invoices_overdue_amount,
           coalesce(sum(amount) FILTER (written_off), 0) AS invoices_written_off_amount,
           sum(amount) AS invoiced,
           count(*) FILTER (ago <= in_days(90)) AS invoices_count_90d,
           sum(amount) FILTER (ago <= in_days(90)) AS invoices_amount_90d,
           count(*) FILTER (ago <= in_days(365)) AS invoices_count_365d,
           sum(amount) FILTER (ago <= in_days(365)) AS invoices_amount_365d
    FROM stood GROUP BY row
)
SELECT row,
       COLUMNS('invoices_.*')::DOUBLE,
       ratio(on_time, judged) AS invoices_on_time_share,
       ratio(delay, judged) / 86400 AS invoices_delay_mean,
       not_below(0, longest)::DOUBLE / 86400 AS invoices_delay_max,
       ratio(delay_90d, due_90d) / 86400 AS invoices_delay_mean_90d,
       ratio(delay_365d, due_365d) / 86400 AS invoices_delay_mean_365d,
       ratio(invoices_written_off_amount, invoiced) AS invoices_written_off_share
FROM sums;

CREATE TEMP TABLE family_invoices AS
SELECT m.family_row, sum(i.amount)::DOUBLE AS family_invoices_overdue_amount
FROM members m JOIN '{invoices}' i
  ON i.customer_id = m.customer_id AND i.known_at < m.as_of AND i.due_at < m.as_of
 AND (i.paid_at_known_at IS NULL OR i.paid_at_known_at >= m.as_of)
 AND (i.written_off_at_known_at IS NULL OR i.written_off_at_known_at >= m.as_of)
GROUP BY m.family_row;

CREATE TEMP TABLE deals AS
WITH seen AS (
    SELECT s.row, s.as_of, d.amount, d.created_at,
           CASE WHEN d.closed_at_known_at < s.as_of THEN d.closed_at END AS closed_at,
           CASE WHEN d.closed_at_known_at < s.as_of THEN d.outcome END AS outcome
    FROM spine s JOIN '{deals}' d
      ON d.customer_id = s.customer_id AND d.known_at < s.as_of AND (d.known_until IS NULL OR s.as_of <= d.known_until)
),
sums AS (
    SELECT row, any_value(as_of) AS as_of,
           count(*) FILTER (closed_at IS NULL) AS deals_open_count,
           sum(amount) FILTER (closed_at IS NULL) AS deals_open_amount,
           max(created_at) FILTER (closed_at IS NULL) AS newest_at,
           count(*) FILTER (outcome = 'won') AS deals_won_count,
           count(*) FILTER (outcome = 'lost') AS deals_lost_count,
           sum(amount) FILTER (outcome = 'won') AS deals_won_amount,
           count(amount) FILTER (outcome = 'won') AS amounts,
           max(closed_at) FILTER (outcome = 'won') AS won_at,
           count(*) FILTER (outcome = 'won' AND ago(closed_at, as_of) <= in_days(365)) AS deals_won_count_365d,
           count(*) FILTER (outcome = 'lost' AND ago(closed_at, as_of) <= in_days(365)) AS deals_lost_count_365d
    FROM seen GROUP BY row
)
SELECT row,
       COLUMNS('deals_.*')::DOUBLE,
       days(newest_at, as_of) AS deals_newest_open_days,
       days(won_at, as_of) AS deals_days_since_won,
       ratio(deals_won_count, deals_won_count + deals_lost_count) AS deals_won_share,
       ratio(deals_won_amount, amounts) AS deals_won_amount_mean
FROM sums;

CREATE TEMP TABLE family_deals AS
SELECT m.family_row,
       count(*) FILTER (d.closed_at_known_at IS NULL OR d.closed_at_known_at >= m.as_of)::DOUBLE
           AS family_deals_open_count,
       count(*) FILTER (d.closed_at_known_at < m.as_of AND d.outcome = 'won'
                        AND ago(d.closed_at, m.as_of) <= in_days(365))::DOUBLE AS family_deals_won_count_365d
FROM members m JOIN '{deals}' d
  ON d.customer_id = m.customer_id AND d.known_at < m.as_of AND (d.known_until IS NULL OR m.as_of <= d.known_until)
GROUP BY m.family_row;

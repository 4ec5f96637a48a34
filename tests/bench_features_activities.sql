-- Activities of the customer, by hand. Who a contact is does not depend on as_of, only whether it is known yet:
-- contacts are joined once, before the range join.
CREATE TEMP TABLE activities AS
WITH met AS (
    SELECT a.customer_id, a.known_at, a.occurred_at, a.kind, a.direction, a.outcome, c.known_at AS met_at,
           a.kind = 'meeting' AND c.is_decision_maker AS with_decision_maker,
           a.kind = 'meeting' AND lower(trim(c.seniority)) IN ('director', 'executive') AS with_senior
    FROM '{activities}' a LEFT JOIN '{contacts}' c USING (contact_id)
),
seen AS (
    SELECT s.row, s.as_of, a.*, ago(a.occurred_at, s.as_of) AS ago,
           lag(a.occurred_at) OVER earlier AS previous_at,
           max(CASE WHEN a.direction = 'outbound' THEN a.occurred_at END) OVER before AS outbound_at,
           max(CASE WHEN a.direction = 'inbound' THEN a.occurred_at END) OVER before AS inbound_at
    FROM spine s JOIN met a ON a.customer_id = s.customer_id AND a.known_at < s.as_of
    WINDOW earlier AS (PARTITION BY s.row ORDER BY a.occurred_at, a.direction),
           before AS (PARTITION BY s.row ORDER BY a.occurred_at, a.direction
                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
told AS (
    SELECT *, direction = 'inbound' AS inbound, direction = 'outbound' AS outbound,
           direction = 'inbound' AND ago(outbound_at, as_of) <= in_days(365)
               AND (inbound_at IS NULL OR inbound_at <= outbound_at) AS answers
    FROM seen
),
sums AS (
    SELECT row, any_value(as_of) AS as_of,
           count(*) AS activities_count,
           count(*) FILTER (inbound) AS activities_inbound_count,
           min(occurred_at) AS first_at,
           max(occurred_at) AS last_at,
           max(occurred_at) FILTER (inbound) AS last_inbound_at,
           max(occurred_at) FILTER (kind = 'meeting') AS last_meeting_at,
           count(*) FILTER (occurred_at::DATE > previous_at::DATE) AS gaps,
           count(*) FILTER (ago <= in_days(14)) AS activities_count_14d,
           count(*) FILTER (inbound AND ago <= in_days(14)) AS activities_inbound_count_14d,
           count(*) FILTER (kind = 'meeting' AND ago <= in_days(14)) AS activities_meeting_count_14d,
           count(*) FILTER (ago <= in_days(30)) AS activities_count_30d,
           count(*) FILTER (inbound AND ago <= in_days(30)) AS activities_inbound_count_30d,
           count(*) FILTER (kind = 'meeting' AND ago <= in_days(30)) AS activities_meeting_count_30d,
           count(*) FILTER (ago <= in_days(90)) AS activities_count_90d,
           count(*) FILTER (inbound AND ago <= in_days(90)) AS activities_inbound_count_90d,
           count(*) FILTER (kind = 'meeting' AND ago <= in_days(90)) AS activities_meeting_count_90d,
           count(*) FILTER (kind = 'call' AND ago <= in_days(90)) AS activities_call_count_90d,
           count(*) FILTER (kind = 'email' AND ago <= in_days(90)) AS activities_email_count_90d,
           count(*) FILTER (outbound AND ago <= in_days(90)) AS activities_outbound_count_90d,
           count(*) FILTER (outbound AND kind = 'call' AND outcome IS NOT NULL AND ago <= in_days(90)) AS called,
           count(*) FILTER (outbound AND kind = 'call' AND outcome = 'answered' AND ago <= in_days(90)) AS answered,
           sum((ago(previous_at, occurred_at) <= in_days(1) AND ago <= in_days(90))::INT) AS bursts,
           count(*) FILTER (answers) AS answers,
           sum(seconds(occurred_at) - seconds(outbound_at)) FILTER (answers) AS waited,
           count(*) FILTER (outbound AND ago <= in_days(365)) AS outbound_365d,
           count(*) FILTER (with_decision_maker AND met_at < as_of AND ago <= in_days(365))
               AS activities_meeting_decision_maker_count_365d,
           count(*) FILTER (with_senior AND met_at < as_of AND ago <= in_days(365))
               AS activities_meeting_senior_count_365d
    FROM told GROUP BY row
)
SELECT row,
       COLUMNS('activities_.*')::DOUBLE,
       days(last_at, as_of) AS activities_days_since_last,
       ratio(activities_inbound_count_90d, activities_inbound_count_90d + activities_outbound_count_90d)
           AS activities_inbound_share_90d,
       ratio(answered, called) AS activities_answered_share_90d,
       ratio(bursts, activities_count_90d) AS activities_burst_share_90d,
       ratio(answers, outbound_365d) AS activities_response_ratio_365d,
       ratio(waited, answers) / 86400 AS activities_response_days_365d,
       days(last_inbound_at, as_of) AS activities_days_since_inbound,
       days(last_meeting_at, as_of) AS activities_days_since_meeting,
       ratio(days(last_at, as_of) * gaps, seconds(last_at) // 86400 - seconds(first_at) // 86400)
           AS activities_silence_ratio
FROM sums;

-- Customers, their families and contacts, by hand. `spine` is a table (row, customer_id, as_of).
CREATE MACRO seconds(t) AS epoch_us(t) // 1000000;
CREATE MACRO days(a, b) AS (seconds(b) - seconds(a)) / 86400.0::DOUBLE;
CREATE MACRO ratio(a, b) AS a::DOUBLE / nullif(b::DOUBLE, 0);
CREATE MACRO ago(t, as_of) AS epoch_us(as_of) - epoch_us(t);
CREATE MACRO in_days(n) AS n * 86400000000;
CREATE MACRO not_below(least, x) AS CASE WHEN x < least THEN least ELSE x END; -- greatest() takes null for small
CREATE MACRO growth(now, before) AS CASE WHEN now <> 0 THEN ratio(now - before, before) END;

CREATE TEMP TABLE profile AS
SELECT s.row,
       coalesce(c.parent_id, c.customer_id) AS family_id,
       days(c.created_at, s.as_of) AS customers_age_days,
       c.employees::DOUBLE AS customers_employees,
       c.annual_revenue::DOUBLE AS customers_annual_revenue,
       c.industry AS customers_industry,
       c.region AS customers_region,
       c.source AS customers_source,
       c.credit_grade AS customers_credit_grade,
       days(c.founded_on::TIMESTAMP, s.as_of) AS customers_days_since_founded,
       (1 + (c.employees >= 10)::INT + (c.employees >= 50)::INT + (c.employees >= 250)::INT
          + (c.employees >= 1000)::INT)::DOUBLE AS customers_employees_band,
       (1 + (c.annual_revenue >= 100000)::INT + (c.annual_revenue >= 1000000)::INT
          + (c.annual_revenue >= 10000000)::INT + (c.annual_revenue >= 100000000)::INT)::DOUBLE
           AS customers_annual_revenue_band,
       ((c.industry IS NOT NULL)::INT + (c.region IS NOT NULL)::INT + (c.employees IS NOT NULL)::INT
           + (c.annual_revenue IS NOT NULL)::INT + (c.founded_on IS NOT NULL)::INT + (c.owner_id IS NOT NULL)::INT
           + (c.source IS NOT NULL)::INT + (c.credit_grade IS NOT NULL)::INT)::DOUBLE AS customers_filled_count,
       (c.parent_id IS NOT NULL AND c.parent_id <> c.customer_id)::DOUBLE AS customers_parent_count
FROM spine s JOIN '{customers}' c
  ON c.customer_id = s.customer_id AND c.known_at < s.as_of AND (c.known_until IS NULL OR s.as_of <= c.known_until);

-- What a version before held does not depend on as_of: once per version, not once per snapshot.
CREATE TEMP TABLE steps AS
SELECT customer_id, known_at,
       coalesce(employees, 0) - coalesce(lag(employees) OVER version, 0) AS employees,
       coalesce(annual_revenue, 0) - coalesce(lag(annual_revenue) OVER version, 0) AS revenue,
       coalesce(owner_id <> lag(owner_id) OVER version, false) AS is_owner_change,
       coalesce(credit_grade <> lag(credit_grade) OVER version, false) AS is_grade_change
FROM '{customers}' WHERE known_until IS NULL OR known_at < known_until
WINDOW version AS (PARTITION BY customer_id ORDER BY known_at);

CREATE TEMP TABLE changes AS
WITH sums AS (
    SELECT s.row,
           sum(c.employees) AS employees,
           sum(c.employees) FILTER (ago(c.known_at, s.as_of) > in_days(365)) AS employees_before,
           sum(c.revenue) AS revenue,
           sum(c.revenue) FILTER (ago(c.known_at, s.as_of) > in_days(365)) AS revenue_before,
           count(*) FILTER (c.is_owner_change AND ago(c.known_at, s.as_of) <= in_days(365))::DOUBLE AS owners,
           count(*) FILTER (c.is_grade_change AND ago(c.known_at, s.as_of) <= in_days(365))::DOUBLE AS grades
    FROM spine s JOIN steps c ON c.customer_id = s.customer_id AND c.known_at < s.as_of
    GROUP BY s.row
)
SELECT row,
       growth(employees, employees_before) AS customers_employees_growth_365d,
       growth(revenue, revenue_before) AS customers_annual_revenue_growth_365d,
       owners AS customers_owner_changes_count_365d,
       grades AS customers_credit_grade_changes_count_365d
FROM sums;

CREATE TEMP TABLE families AS
SELECT row_number() OVER () AS family_row, family_id, as_of
FROM (SELECT DISTINCT p.family_id, s.as_of FROM profile p JOIN spine s USING (row));

CREATE TEMP TABLE members AS
WITH links AS (
    SELECT customer_id, customer_id AS head, known_at, known_until, employees, annual_revenue FROM '{customers}'
    UNION ALL
    SELECT customer_id, parent_id, known_at, known_until, NULL, NULL FROM '{customers}' WHERE parent_id IS NOT NULL
)
SELECT f.family_row, f.family_id, f.as_of, l.customer_id, l.employees, l.annual_revenue
FROM families f JOIN links l
  ON l.head = f.family_id AND l.known_at < f.as_of AND (l.known_until IS NULL OR f.as_of <= l.known_until);

CREATE TEMP TABLE heads AS
SELECT family_row,
       count(*)::DOUBLE AS family_members_count,
       max(employees) FILTER (customer_id = family_id)::DOUBLE AS family_head_employees,
       max(annual_revenue) FILTER (customer_id = family_id)::DOUBLE AS family_head_annual_revenue,
       count(*) FILTER (customer_id <> family_id)::DOUBLE AS family_subsidiaries_count
FROM members GROUP BY family_row;

CREATE TEMP TABLE head_changes AS
WITH sums AS (
    SELECT f.family_row,
           sum(c.employees) AS employees,
           sum(c.employees) FILTER (ago(c.known_at, f.as_of) > in_days(365)) AS employees_before,
           sum(c.revenue) AS revenue,
           sum(c.revenue) FILTER (ago(c.known_at, f.as_of) > in_days(365)) AS revenue_before
    FROM families f JOIN steps c ON c.customer_id = f.family_id AND c.known_at < f.as_of
    GROUP BY f.family_row
)
SELECT family_row,
       growth(employees, employees_before) AS family_head_employees_growth_365d,
       growth(revenue, revenue_before) AS family_head_annual_revenue_growth_365d
FROM sums;

CREATE TEMP TABLE contacts AS
SELECT s.row,
       count(*)::DOUBLE AS contacts_count,
       count(*) FILTER (c.is_decision_maker)::DOUBLE AS contacts_decision_maker_count,
       count(*) FILTER (lower(trim(c.seniority)) IN ('director', 'executive'))::DOUBLE AS contacts_senior_count,
       days(max(c.created_at), any_value(s.as_of)) AS contacts_days_since_added
FROM spine s JOIN '{contacts}' c ON c.customer_id = s.customer_id AND c.known_at < s.as_of
GROUP BY s.row;

-- A simulated CRM, staged as sim_<table>, as records of Odoo 19. :now is the moment at which it ends.
-- Each record keeps the simulator's id: ref, referred, message_id, client_order_ref.

-- An earlier world goes. Odoo has some eighty keys that point at a partner: a large world wants a server of its own.
DELETE FROM account_partial_reconcile WHERE debit_move_id IN (SELECT id FROM account_move_line WHERE ref LIKE 'I0%');
DELETE FROM account_move_line WHERE ref LIKE 'I0%';
DELETE FROM account_move WHERE ref LIKE 'I0%';
DELETE FROM sale_order WHERE client_order_ref LIKE 'R0%';
CREATE TEMP TABLE emptied AS
SELECT 'crm.lead' AS model, id FROM crm_lead WHERE referred LIKE 'D0%'
UNION ALL SELECT 'res.partner', id FROM res_partner WHERE ref LIKE 'C0%' OR ref LIKE 'P0%';
CREATE INDEX ON emptied (model, id);
DELETE FROM mail_followers USING emptied WHERE res_model = model AND res_id = emptied.id;
DELETE FROM mail_activity USING emptied WHERE res_model = model AND res_id = emptied.id;
CREATE TEMP TABLE unsaid AS SELECT message.id FROM mail_message AS message JOIN emptied USING (model) WHERE res_id = emptied.id;
DELETE FROM mail_tracking_value USING unsaid WHERE mail_message_id = unsaid.id;
DELETE FROM mail_message USING unsaid WHERE mail_message.id = unsaid.id;
DELETE FROM crm_lead WHERE referred LIKE 'D0%';
DELETE FROM res_partner WHERE ref LIKE 'C0%' OR ref LIKE 'P0%';

-- People who sell.
INSERT INTO res_partner (name, complete_name, ref, type, active, is_company, partner_share, autopost_bills, create_date, write_date)
SELECT owner, owner, owner, 'contact', true, false, false, 'ask', :now - interval '4 years', :now - interval '4 years'
FROM (SELECT DISTINCT owner_id AS owner FROM sim_deals UNION SELECT DISTINCT owner_id FROM sim_customers) AS owners
WHERE owner IS NOT NULL AND owner NOT IN (SELECT login FROM res_users) ORDER BY owner;
UPDATE res_partner SET commercial_partner_id = id WHERE commercial_partner_id IS NULL;
INSERT INTO res_users (login, partner_id, company_id, active, share, notification_type, create_date, write_date)
SELECT name, id, 1, true, false, 'email', create_date, create_date
FROM res_partner WHERE ref LIKE 'U0%' AND name NOT IN (SELECT login FROM res_users) ORDER BY id;
INSERT INTO res_company_users_rel (cid, user_id)
SELECT 1, id FROM res_users WHERE login LIKE 'U0%' ON CONFLICT DO NOTHING;
INSERT INTO res_groups_users_rel (gid, uid)
SELECT data.res_id, users.id FROM res_users AS users, ir_model_data AS data
WHERE users.login LIKE 'U0%' AND (data.module, data.name) IN (('base', 'group_user'), ('sales_team', 'group_sale_salesman'))
ON CONFLICT DO NOTHING;
CREATE TEMP TABLE owners AS SELECT login AS owner, id, partner_id FROM res_users;

-- What leads point at. A stage of the simulator that Odoo lacks comes before the won one.
INSERT INTO crm_stage (name, sequence, is_won, create_date, write_date)
SELECT '{"en_US": "Negotiation"}', 50, false, :now, :now
WHERE NOT EXISTS (SELECT FROM crm_stage WHERE name ->> 'en_US' = 'Negotiation');
CREATE TEMP TABLE stages AS
SELECT replace(lower(name ->> 'en_US'), 'proposition', 'proposal') AS stage, name ->> 'en_US' AS name, min(id) AS id
FROM crm_stage GROUP BY 1, 2;
INSERT INTO crm_lost_reason (name, active, create_date, write_date)
SELECT jsonb_build_object('en_US', reason), true, :now, :now FROM (SELECT DISTINCT lost_reason AS reason FROM sim_deals) AS reasons
WHERE reason IS NOT NULL AND NOT EXISTS (SELECT FROM crm_lost_reason WHERE name ->> 'en_US' = reason) ORDER BY reason;
INSERT INTO utm_source (name, create_date, write_date)
SELECT source, :now, :now FROM (SELECT DISTINCT source FROM sim_deals) AS sources
WHERE source IS NOT NULL AND source NOT IN (SELECT name FROM utm_source) ORDER BY source;
INSERT INTO res_partner_industry (name, active, create_date, write_date)
SELECT jsonb_build_object('en_US', industry), true, :now, :now FROM (SELECT DISTINCT industry FROM sim_customers) AS industries
WHERE industry IS NOT NULL AND NOT EXISTS (SELECT FROM res_partner_industry WHERE name ->> 'en_US' = industry)
ORDER BY industry;

-- Customers and their contacts.
INSERT INTO res_partner (name, complete_name, ref, type, active, is_company, partner_share, autopost_bills, website, vat,
  industry_id, user_id, create_date, write_date)
SELECT customer.name, customer.name, customer_id, 'contact', true, true, true, 'ask', 'https://' || domain, tax_number,
  (SELECT min(id) FROM res_partner_industry WHERE name ->> 'en_US' = industry), owners.id,
  customer.created_at, customer.created_at
FROM sim_customers AS customer LEFT JOIN owners ON owner = owner_id ORDER BY customer_id;
UPDATE res_partner SET commercial_partner_id = id WHERE ref LIKE 'C0%';
UPDATE res_partner AS child SET parent_id = parent.id
FROM sim_customers AS customer JOIN res_partner AS parent ON parent.ref = customer.parent_id WHERE child.ref = customer.customer_id;
INSERT INTO res_partner (name, complete_name, ref, type, active, is_company, partner_share, autopost_bills, function,
  parent_id, commercial_partner_id, create_date, write_date)
SELECT contact_id, contact_id, contact_id, 'contact', true, false, true, 'ask', title, company.id, company.id,
  greatest(contact.known_at, contact.created_at), contact.created_at
FROM sim_contacts AS contact JOIN res_partner AS company ON company.ref = contact.customer_id ORDER BY contact_id;
CREATE TEMP TABLE partners AS SELECT ref, id FROM res_partner WHERE ref LIKE 'C0%' OR ref LIKE 'P0%';
CREATE INDEX ON partners (ref);

-- Leads. Lost ones are archived with probability 0.
INSERT INTO crm_lead (name, type, referred, partner_id, user_id, team_id, stage_id, source_id, expected_revenue,
  date_deadline, date_closed, active, probability, automated_probability, won_status, lost_reason_id, priority,
  create_date, write_date)
SELECT deal_id, 'opportunity', deal_id, partners.id, owners.id, 1, stages.id,
  (SELECT min(id) FROM utm_source WHERE name = deal.source), amount, expected_close_on, closed_at,
  outcome IS DISTINCT FROM 'lost', CASE outcome WHEN 'won' THEN 100 WHEN 'lost' THEN 0 ELSE 20 END,
  CASE outcome WHEN 'won' THEN 100 WHEN 'lost' THEN 0 ELSE 20 END, coalesce(outcome, 'pending'),
  (SELECT min(id) FROM crm_lost_reason WHERE name ->> 'en_US' = lost_reason), '0', deal.created_at,
  coalesce(closed_at, deal.created_at)
FROM sim_deals AS deal
LEFT JOIN partners ON ref = customer_id
LEFT JOIN owners ON owner = owner_id
LEFT JOIN (SELECT DISTINCT ON (deal_id) deal_id, stage FROM sim_stage_changes ORDER BY deal_id, occurred_at DESC) AS newest
  USING (deal_id)
JOIN stages ON stages.stage = CASE outcome WHEN 'won' THEN 'won' ELSE coalesce(newest.stage, 'new') END
ORDER BY deal_id;
CREATE TEMP TABLE leads AS SELECT referred AS deal_id, id, partner_id FROM crm_lead WHERE referred LIKE 'D0%';
CREATE INDEX ON leads (deal_id);

-- The history of fields: one message and one value for each change, in the order in which they were made.
CREATE TEMP TABLE moves AS
SELECT deal_id, occurred_at, stage, lag(stage) OVER (PARTITION BY deal_id ORDER BY occurred_at) AS before
FROM (SELECT deal_id, occurred_at, stage FROM sim_stage_changes
      UNION ALL SELECT deal_id, closed_at, 'won' FROM sim_deals WHERE outcome = 'won') AS entered;
CREATE TEMP TABLE changes AS
SELECT 'crm.lead' AS model, leads.id AS res_id, 'stage_id' AS field, occurred_at, before.id AS before, after.id AS after,
  before.name AS before_name, after.name AS after_name, NULL::float AS old, NULL::float AS "new"
FROM moves JOIN leads USING (deal_id) JOIN stages AS before ON before.stage = moves.before
JOIN stages AS after ON after.stage = moves.stage
UNION ALL
SELECT 'crm.lead', leads.id, 'active', closed_at, 1, 0, NULL, NULL, NULL, NULL
FROM sim_deals JOIN leads USING (deal_id) WHERE outcome = 'lost'
UNION ALL
SELECT CASE table_name WHEN 'deals' THEN 'crm.lead' ELSE 'res.partner' END, coalesce(leads.id, partners.id), 'user_id',
  occurred_at, before.id, after.id, before.owner, after.owner, NULL, NULL
FROM sim_attribute_changes AS change
LEFT JOIN leads ON table_name = 'deals' AND deal_id = entity_id
LEFT JOIN partners ON table_name = 'customers' AND ref = entity_id
LEFT JOIN owners AS before ON before.owner = old_value LEFT JOIN owners AS after ON after.owner = new_value
WHERE field = 'owner_id' AND coalesce(leads.id, partners.id) IS NOT NULL
UNION ALL
SELECT 'crm.lead', leads.id, 'expected_revenue', occurred_at, NULL, NULL, NULL, NULL, old_value::float, new_value::float
FROM sim_attribute_changes JOIN leads ON deal_id = entity_id WHERE table_name = 'deals' AND field = 'amount';
CREATE TEMP TABLE tracked AS
SELECT nextval('mail_message_id_seq') AS message_id, * FROM (SELECT * FROM changes ORDER BY occurred_at, res_id, field) AS ordered;
INSERT INTO mail_message (id, model, res_id, message_type, subtype_id, date, create_date, write_date, message_id, author_id)
SELECT message_id, model, res_id, 'notification', (SELECT res_id FROM ir_model_data WHERE module = 'mail' AND name = 'mt_note'),
  occurred_at, occurred_at, occurred_at, '<sim-' || message_id || '>', (SELECT partner_id FROM owners WHERE owner = 'admin')
FROM tracked;
INSERT INTO mail_tracking_value (mail_message_id, field_id, old_value_integer, new_value_integer, old_value_char,
  new_value_char, old_value_float, new_value_float, create_date, write_date)
SELECT message_id, fields.id, before, after, before_name, after_name, old, "new", occurred_at, occurred_at
FROM tracked JOIN ir_model_fields AS fields ON fields.model = tracked.model AND fields.name = field ORDER BY message_id;

-- Emails, notes, and calls and meetings that were done.
INSERT INTO mail_message (model, res_id, message_type, subtype_id, mail_activity_type_id, date, create_date, write_date,
  message_id, author_id, body)
SELECT CASE WHEN leads.id IS NULL THEN 'res.partner' ELSE 'crm.lead' END, coalesce(leads.id, customer.id),
  CASE WHEN kind IN ('call', 'meeting') THEN 'notification' WHEN kind <> 'email' THEN 'comment'
    WHEN direction = 'inbound' THEN 'email' ELSE 'email_outgoing' END,
  (SELECT res_id FROM ir_model_data WHERE module = 'mail' AND name =
    CASE WHEN kind IN ('call', 'meeting') THEN 'mt_activities' WHEN kind = 'email' THEN 'mt_comment' ELSE 'mt_note' END),
  (SELECT min(id) FROM mail_activity_type WHERE category = CASE kind WHEN 'call' THEN 'phonecall' WHEN 'meeting' THEN 'meeting' END),
  occurred_at, known_at, known_at, '<sim-' || activity_id || '>',
  CASE WHEN kind = 'email' AND direction = 'inbound' THEN contact.id
    ELSE coalesce(owners.partner_id, (SELECT partner_id FROM owners WHERE owner = 'admin')) END, '<p>' || kind || '</p>'
FROM sim_activities AS activity
LEFT JOIN leads USING (deal_id)
LEFT JOIN partners AS customer ON customer.ref = customer_id
LEFT JOIN partners AS contact ON contact.ref = contact_id
LEFT JOIN owners ON owner = author
WHERE coalesce(leads.id, customer.id) IS NOT NULL ORDER BY activity_id;

-- Orders.
INSERT INTO sale_order (name, client_order_ref, company_id, partner_id, partner_invoice_id, partner_shipping_id, state,
  date_order, amount_untaxed, amount_total, amount_tax, currency_id, currency_rate, create_date, write_date)
SELECT order_id, order_id, 1, partners.id, partners.id, partners.id, 'sale', occurred_at, amount, amount, 0,
  (SELECT currency_id FROM res_company WHERE id = 1), 1, known_at, known_at
FROM sim_orders JOIN partners ON ref = customer_id ORDER BY order_id;

-- Invoices, each with the line of what is owed, which the line of a payment may settle.
INSERT INTO account_move (name, ref, journal_id, company_id, currency_id, state, move_type, auto_post, date, invoice_date,
  invoice_date_due, partner_id, commercial_partner_id, amount_total, amount_total_signed, payment_state, create_date, write_date)
SELECT invoice_id, invoice_id, (SELECT min(id) FROM account_journal WHERE type = 'sale'), 1,
  (SELECT currency_id FROM res_company WHERE id = 1), 'posted', 'out_invoice', 'no', occurred_at::date, occurred_at::date,
  due_at::date, partners.id, partners.id, amount, amount, CASE WHEN paid_at IS NULL THEN 'not_paid' ELSE 'paid' END, known_at,
  coalesce(paid_at, known_at)
FROM sim_invoices JOIN partners ON ref = customer_id ORDER BY invoice_id;
INSERT INTO account_move_line (move_id, ref, account_id, currency_id, company_id, company_currency_id, partner_id, display_type,
  parent_state, balance, debit, credit, date, name, create_date, write_date)
SELECT move.id, move.ref, (SELECT min(id) FROM account_account WHERE account_type = 'asset_receivable'), move.currency_id, 1,
  move.currency_id, move.partner_id, 'payment_term', 'posted', sign.sign * amount_total, greatest(sign.sign, 0) * amount_total,
  greatest(-sign.sign, 0) * amount_total, move.date, sign.name, move.create_date, move.create_date
FROM account_move AS move, (VALUES (1, 'owed'), (-1, 'paid')) AS sign(sign, name)
WHERE move.ref LIKE 'I0%' AND (sign.sign = 1 OR move.payment_state = 'paid') ORDER BY move.id, sign.sign DESC;
INSERT INTO account_partial_reconcile (debit_move_id, credit_move_id, company_id, amount, max_date, create_date, write_date)
SELECT owed.id, paid.id, 1, invoice.paid_amount, invoice.paid_at::date, invoice.paid_at_known_at, invoice.paid_at_known_at
FROM sim_invoices AS invoice
JOIN account_move_line AS owed ON owed.ref = invoice_id AND owed.name = 'owed'
JOIN account_move_line AS paid ON paid.ref = invoice_id AND paid.name = 'paid'
WHERE invoice.paid_at IS NOT NULL ORDER BY owed.id;

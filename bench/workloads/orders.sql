-- SPDX-License-Identifier: MIT
--
-- orders.sql - sqlite3 in memory: inserts, indexes, joins, updates, deletes, text functions. Prints counts and sums.
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER, item TEXT, amount INTEGER, note TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO customer SELECT i, 'customer-' || (i * 7919 % 5003), 'city ' || (i % 97) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90000)
INSERT INTO orders SELECT i, i * 7919 % 5000 + 1, 'item-' || (i * 104729 % 1000), i * 31 % 977,
  substr('the quick brown fox jumps over the lazy dog and runs away', 1, i % 57) FROM n;
COMMIT;
CREATE INDEX by_customer ON orders(customer);
CREATE INDEX by_item ON orders(item, amount);
SELECT count(*), sum(amount), max(length(note)) FROM orders;
SELECT c.city, count(*), sum(o.amount) FROM orders o JOIN customer c ON c.id = o.customer
  GROUP BY c.city ORDER BY 3 DESC, 1 LIMIT 5;
SELECT item, group_concat(amount) FROM (SELECT item, amount FROM orders WHERE item LIKE 'item-10_' ORDER BY id)
  GROUP BY item ORDER BY length(group_concat(amount)) DESC, item LIMIT 1;
UPDATE orders SET note = note || ' / ' || upper(item) WHERE id % 3 = 0;
DELETE FROM orders WHERE id % 5 = 0;
SELECT count(*), sum(length(note)), count(DISTINCT note) FROM orders;
SELECT sum(length(j)) FROM (SELECT json_group_array(json_object('i', id, 'n', note)) AS j FROM orders
  WHERE id < 30000 GROUP BY customer % 50);
SELECT name, (SELECT max(amount) FROM orders WHERE customer = customer.id) AS most FROM customer
  ORDER BY most DESC, name LIMIT 3;

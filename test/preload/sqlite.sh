#!/bin/bash
# SPDX-License-Identifier: MIT
#
# sqlite.sh - sqlite3 on Ashlar: 100,000 rows, indexes, joins, aggregates, checksums the same as on libc.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

cat >"$TMPDIR/work.sql" <<'SCRIPT'
PRAGMA cache_size = 20000;
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, grp INTEGER, price REAL, note BLOB);
CREATE TABLE grp(id INTEGER PRIMARY KEY, title TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
  INSERT INTO item SELECT i, printf('item-%06d-%d', (i * 7919) % 100003, i), i % 100, (i * 37 % 1000) / 10.0,
    CAST(printf('%.*c', i % 200, 'x') AS BLOB) FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99)
  INSERT INTO grp SELECT i, 'group ' || i FROM n;
CREATE INDEX item_name ON item(name);
CREATE INDEX item_group ON item(grp, price);
SELECT count(*), sum(id), round(sum(price), 1), sum(length(note)) FROM item;
SELECT g.title, count(*), round(avg(i.price), 3), max(i.name) FROM item i JOIN grp g ON g.id = i.grp
  GROUP BY g.id ORDER BY g.id LIMIT 10;
SELECT a.name, b.name FROM item a JOIN item b ON b.id = a.id + 50000 WHERE a.price = b.price ORDER BY a.name DESC LIMIT 5;
SELECT count(DISTINCT substr(name, 1, 9)) FROM item WHERE name LIKE 'item-0%';
UPDATE item SET name = upper(name), price = price * 2 WHERE grp % 3 = 0;
DELETE FROM item WHERE id % 7 = 0;
SELECT count(*), round(sum(price), 1), min(name), max(name) FROM item;
SELECT grp, group_concat(id, ',') FROM (SELECT grp, id FROM item WHERE id < 600 ORDER BY id) GROUP BY grp ORDER BY grp;
SELECT name, row_number() OVER (PARTITION BY grp ORDER BY price DESC, id) r FROM item WHERE id < 300 ORDER BY r, name LIMIT 20;
VACUUM;
PRAGMA integrity_check;
SCRIPT

same_on_ashlar sqlite 10000 sqlite3 -batch :memory: ".read $TMPDIR/work.sql"
check "sqlite3: 100,000 rows" grep -q "^100000|$((100000 * 100001 / 2))|" "$TMPDIR/sqlite.default.out"
check "sqlite3: integrity" grep -qx ok "$TMPDIR/sqlite.default.out"

cat >"$TMPDIR/on_file.sh" <<'SCRIPT'
set -eu
rm -f "$TMPDIR/data.db"
sed 's/100000/20000/' "$TMPDIR/work.sql" >"$TMPDIR/small.sql"
sqlite3 -batch "$TMPDIR/data.db" ".read $TMPDIR/small.sql"
sqlite3 -batch "$TMPDIR/data.db" .dump | cksum
SCRIPT
same_on_ashlar sqlite_file 10000 bash "$TMPDIR/on_file.sh"
finish

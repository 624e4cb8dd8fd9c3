-- The orchard's database, and a role that may read it and nothing else.
\set ON_ERROR_STOP on
CREATE ROLE reader LOGIN PASSWORD 'windfall';
CREATE DATABASE orchard;
\connect orchard

CREATE TABLE varieties (
    name text PRIMARY KEY,
    ripe daterange NOT NULL,
    uses text[] NOT NULL,
    sugar numeric(4, 1) NOT NULL
);
INSERT INTO varieties VALUES
    ('Gravensteiner', '[2026-08-20,2026-09-15)', '{table,cake}', 11.8),
    ('Boskoop', '[2026-09-25,2026-10-20)', '{cake,cider}', 12.6),
    ('Topaz', '[2026-09-20,2026-10-10)', '{table}', 13.1);

CREATE TABLE trees (
    id integer PRIMARY KEY,
    variety text NOT NULL REFERENCES varieties,
    planted date NOT NULL,
    place point NOT NULL,
    notes jsonb
);
INSERT INTO trees
SELECT n, (ARRAY['Gravensteiner', 'Boskoop', 'Topaz'])[n % 3 + 1], date '1998-03-01' + n * 17,
       point(n % 12 * 4, n / 12 * 5), CASE WHEN n % 9 = 0 THEN '{"grafted": true, "stock": "MM106"}'::jsonb END
FROM generate_series(1, 96) AS n;

CREATE TABLE baskets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tree integer NOT NULL REFERENCES trees,
    weighed_at timestamptz NOT NULL DEFAULT now(),
    kilograms numeric(6, 3) NOT NULL
);
INSERT INTO baskets (tree, weighed_at, kilograms)
SELECT n % 96 + 1, timestamptz '2026-09-01 07:00+00' + n * interval '37 minutes', 8 + n % 70 * 0.125
FROM generate_series(1, 600) AS n;

CREATE VIEW yield_by_day AS
SELECT variety, weighed_at::date AS day, sum(kilograms) AS kilograms
FROM baskets JOIN trees ON trees.id = tree GROUP BY variety, day;

GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;

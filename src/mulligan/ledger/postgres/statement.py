"""The statements of the ledger in PostgreSQL. Each takes arrays, one element an entry, and is a transaction of its own.

Rows are always locked in the order of their keys: a worker that saves and the supervisor that extends touch the same
ones, and would wait for each other for ever. Times are those of the server's clock; `at` is another time to take for
it, in tests.

A row's token names its claim, NULL for none; `ended` is the token whose last record ended the claim, so that this
record can be repeated after its answer was lost. `asked_hop` is the hop of the last claim that was granted.
"""

__all__ = ["CLAIM", "END", "EXTEND", "FORGET", "GIVE_BACK", "KNOWN", "LOOK", "NOW", "SAVE"]

_NOW = "extract(epoch FROM clock_timestamp())::float8"

NOW = f"SELECT {_NOW}"

CLAIM = f"""
INSERT INTO mulligan_record AS record (uid, generation, hop, asked_hop, token, until, deaths, touched_at)
SELECT c.uid, c.generation, 0, c.hop, c.token, coalesce(c.at, t.now) + c.for_s, 0, coalesce(c.at, t.now)
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::float8[], $6::float8[])
    AS c (uid, generation, hop, token, for_s, at), (SELECT {_NOW} AS now) AS t
ORDER BY c.uid COLLATE "C", c.generation
ON CONFLICT (uid, generation) DO UPDATE SET
    asked_hop = excluded.asked_hop, token = excluded.token, until = excluded.until, touched_at = excluded.touched_at,
    ended = NULL,
    deaths = CASE WHEN record.token IS NULL OR record.token = excluded.token THEN record.deaths
        WHEN record.deaths = 0 THEN -1 ELSE abs(record.deaths) END
WHERE record.hop <= excluded.asked_hop
    AND (record.token IS NULL OR record.token = excluded.token OR record.until <= excluded.touched_at)
RETURNING uid, generation, progress, deaths"""  # noqa: S608 - constants

LOOK = f"""
SELECT r.uid, r.generation, r.hop, CASE WHEN r.token IS NULL THEN 0 ELSE r.until - coalesce(c.at, t.now) END
FROM unnest($1::text[], $2::bigint[], $3::float8[]) AS c (uid, generation, at), (SELECT {_NOW} AS now) AS t,
    mulligan_record AS r
WHERE r.uid = c.uid AND r.generation = c.generation"""  # noqa: S608 - constants

KNOWN = """
SELECT c.place, r.hop, r.progress, r.deaths
FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS c (uid, generation, place), mulligan_record AS r
WHERE r.uid = c.uid AND r.generation = c.generation AND r.progress IS NOT NULL"""

SAVE = f"""
WITH held AS MATERIALIZED (
    SELECT c.*, r.token AS holder
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::bool[], $8::float8[])
        WITH ORDINALITY AS c (uid, generation, token, progress, deaths, hop, is_final, at, place)
        JOIN mulligan_record AS r ON r.uid = c.uid AND r.generation = c.generation
    WHERE r.token = c.token OR (r.token IS NULL AND r.ended = c.token AND c.is_final AND r.progress = c.progress)
    ORDER BY r.uid, r.generation FOR UPDATE OF r
), saved AS (
    UPDATE mulligan_record AS record SET
        progress = h.progress, deaths = h.deaths, hop = greatest(record.hop, h.hop),
        touched_at = coalesce(h.at, {_NOW}),
        ended = CASE WHEN h.is_final THEN h.token END,
        token = CASE WHEN h.is_final THEN NULL ELSE h.token END,
        until = CASE WHEN h.is_final THEN NULL ELSE record.until END
    FROM held AS h WHERE record.uid = h.uid AND record.generation = h.generation AND record.token = h.token
)
SELECT place FROM held"""  # noqa: S608 - constants


def _on_held(changes: str) -> str:
    return f"""
WITH held AS MATERIALIZED (
    SELECT c.*
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::float8[], $5::float8[])
        WITH ORDINALITY AS c (uid, generation, token, for_s, at, place)
        JOIN mulligan_record AS r ON r.uid = c.uid AND r.generation = c.generation
    WHERE r.token = c.token
    ORDER BY r.uid, r.generation FOR UPDATE OF r
), changed AS (
    UPDATE mulligan_record AS record SET {changes}
    FROM held AS h WHERE record.uid = h.uid AND record.generation = h.generation AND record.token = h.token
)
SELECT place FROM held"""  # noqa: S608 - constants


EXTEND = _on_held(f"until = coalesce(h.at, {_NOW}) + h.for_s")
GIVE_BACK = _on_held(
    "token = NULL, until = NULL, deaths = CASE WHEN record.deaths < -1 THEN -record.deaths - 1 ELSE record.deaths END"
)
END = _on_held("token = NULL, until = NULL, deaths = greatest(abs(record.deaths), 1)")

# a row that somebody works on at this moment is not a candidate, and several supervisors tidy up side by side
FORGET = f"""
WITH t AS MATERIALIZED (SELECT coalesce($6::float8, {_NOW}) AS now),
old AS MATERIALIZED (
    SELECT r.uid, r.generation FROM mulligan_record AS r, t
    WHERE (r.uid, r.generation) > ($1::text, $2::bigint) AND r.uid < $3::text
        AND r.touched_at < t.now - $4::float8 AND (r.token IS NULL OR r.until <= t.now)
    ORDER BY r.uid, r.generation LIMIT $5::int FOR UPDATE OF r SKIP LOCKED
), gone AS (
    DELETE FROM mulligan_record AS record USING old AS o
    WHERE record.uid = o.uid AND record.generation = o.generation
)
SELECT uid, generation FROM old ORDER BY uid, generation"""  # noqa: S608 - constants

"""The statements of the PostgreSQL store: each is one transaction, for any number of elections.

Why they are right under READ COMMITTED, where other transactions may be in the way:

* Whoever waits for a row gets to see it as it is after the wait: ``ON CONFLICT DO UPDATE`` and
  ``FOR UPDATE`` judge the newest version of a row. What a statement has *read* without a lock
  is as old as its beginning; it only ever serves to refuse, and to answer.
* Rows are locked in the order of their names, so that two batches do not wait for each other.
* A batch is one parameter, in JSON: for arrays the client library would have to look up types
  on every new connection.
* The clock is ``clock_timestamp()``; ``now()`` stands still from before a wait on.
"""

from elector.stores.postgresql.schema import Tables

_ISO = """'YYYY-MM-DD"T"HH24:MI:SS.MS"+00:00"'"""


class Statements:
    """What is sent to the server.

    Args:
        tables: where.
    """

    def __init__(self, tables: Tables) -> None:
        names = {
            "elections": tables.elections,
            "tenures": tables.tenures,
            "waiters": tables.waiters,
            "iso": _ISO,
        }
        self.acquire = _ACQUIRE.format(**names)
        self.renew = _RENEW.format(**names)
        self.release = _RELEASE.format(**names)
        self.leave = _LEAVE.format(**names)
        self.ask = _ASK.format(**names)
        self.describe = _DESCRIBE.format(**names, which=_NAMED)
        self.elections = _DESCRIBE.format(**names, which="")
        self.history = _HISTORY.format(**names)
        self.rehearsal = _REHEARSAL.format(**names)


_NAMED = "WHERE e.name IN (SELECT json_array_elements_text($1::json))"

# Of several candidates of one process for one election only one is tried: the holder that asks
# again, the heir, or who asked first. The sub-select of SET reads the clock once for all columns.
_ACQUIRE = """
WITH asked AS MATERIALIZED (
    SELECT a.n, a.election COLLATE "C" AS election, a.name, a.instance, a.enlist,
           a.us * interval '1 microsecond' AS ttl, clock_timestamp() AS at,
           e.token, e.holder, e.instance AS held_by, e.expires, e.heir
    FROM json_to_recordset($1::json)
        AS a (n int, election text, name text, instance text, us bigint, enlist bool)
    LEFT JOIN {elections} e ON e.name = a.election
), tried AS (
    SELECT DISTINCT ON (election) election, name, instance, ttl, at FROM asked
    WHERE token IS NULL OR held_by = instance OR expires <= at OR (held_by IS NULL AND heir = name)
    ORDER BY election, held_by = instance DESC NULLS LAST, heir = name DESC NULLS LAST, n
), taken AS (
    INSERT INTO {elections} AS e (name, token, holder, instance, since, ttl, expires)
    SELECT election, 1, name, instance, at, ttl, at + ttl FROM tried ORDER BY election
    ON CONFLICT (name) DO UPDATE
    SET (token, since, expires, holder, instance, ttl, heir) = (
        SELECT CASE WHEN still THEN e.token ELSE e.token + 1 END,
               CASE WHEN still THEN e.since ELSE c.at END,
               c.at + excluded.ttl, excluded.holder, excluded.instance, excluded.ttl, NULL
        FROM (SELECT clock_timestamp() AS at OFFSET 0) c,
             LATERAL (SELECT e.instance = excluded.instance AND e.expires > c.at AS still) s
    )
    WHERE e.instance = excluded.instance OR e.expires <= clock_timestamp()
        OR (e.instance IS NULL AND e.heir = excluded.holder)
    RETURNING e.name, e.token, e.holder, e.instance, e.expires
), enlisted AS (
    INSERT INTO {waiters} (election, instance, name, until)
    SELECT DISTINCT ON (a.election, a.instance)
           a.election, a.instance, a.name, greatest(a.at + a.ttl, a.expires) + 2 * a.ttl
    FROM asked a LEFT JOIN taken t ON t.name = a.election
    WHERE a.enlist AND t.instance IS DISTINCT FROM a.instance
    ORDER BY a.election, a.instance
    ON CONFLICT (election, instance) DO UPDATE SET until = excluded.until
)
SELECT t.instance IS NOT DISTINCT FROM a.instance AS granted,
       t.name IS NOT NULL OR a.expires > a.at AS known,
       coalesce(t.token, a.token, 0) AS token,
       CASE WHEN t.name IS NULL THEN a.holder ELSE t.holder END AS leader,
       ceil(extract(epoch FROM coalesce(t.expires, a.expires) - a.at) * 1000000)::bigint AS left_us
FROM asked a LEFT JOIN taken t ON t.name = a.election ORDER BY a.n
"""

_RENEW = """
WITH mine AS MATERIALIZED (
    SELECT e.name, g.us * interval '1 microsecond' AS ttl
    FROM {elections} e JOIN json_to_recordset($1::json)
        AS g (election text, token bigint, instance text, us bigint)
        ON e.name = g.election AND e.token = g.token AND e.instance = g.instance
    WHERE e.expires > clock_timestamp()
    ORDER BY e.name FOR NO KEY UPDATE OF e
)
UPDATE {elections} e SET ttl = mine.ttl, expires = clock_timestamp() + mine.ttl
FROM mine WHERE e.name = mine.name
RETURNING e.name, e.token, e.instance, e.asked = e.token AS asked, e.asked_heir
"""

# The one commit that need not wait for the disk: a release that a crash takes back only leaves the
# office to its lease. A renewal that was taken back would let two lead.
_RELEASE = """
WITH hasty AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
), mine AS MATERIALIZED (
    SELECT e.name, g.instance, g.reason, (
        SELECT w.name FROM {waiters} w WHERE w.election = g.election AND w.name = g.heir
        AND w.until > clock_timestamp() LIMIT 1) AS heir
    FROM {elections} e JOIN json_to_recordset($1::json)
        AS g (election text, token bigint, instance text, reason text, heir text)
        ON e.name = g.election AND e.token = g.token AND e.instance = g.instance
    WHERE e.expires > clock_timestamp()
    ORDER BY e.name FOR NO KEY UPDATE OF e
)
UPDATE {elections} e
SET holder = NULL, instance = NULL, since = NULL, reason = mine.reason, heir = mine.heir,
    expires = clock_timestamp() + CASE WHEN mine.heir IS NULL THEN interval '0'
        ELSE least(e.ttl, interval '5 seconds') END
FROM hasty, mine WHERE e.name = mine.name
RETURNING e.name, e.token, mine.instance
"""

# An heir that leaves frees the office that is kept for it, unless it has a namesake.
_LEAVE = """
WITH gone AS (
    DELETE FROM {waiters} w USING json_to_recordset($1::json) AS g (election text, instance text)
    WHERE w.election = g.election AND w.instance = g.instance
    RETURNING w.election, w.instance, w.name
), freed AS MATERIALIZED (
    SELECT e.name FROM {elections} e JOIN gone g ON e.name = g.election AND e.heir = g.name
    WHERE e.instance IS NULL AND e.expires > clock_timestamp() AND NOT EXISTS (
        SELECT FROM {waiters} w WHERE w.election = g.election AND w.name = g.name
        AND w.until > clock_timestamp()
        AND NOT EXISTS (SELECT FROM gone WHERE gone.instance = w.instance))
    ORDER BY e.name FOR NO KEY UPDATE OF e
)
UPDATE {elections} e SET heir = NULL, expires = clock_timestamp()
FROM freed WHERE e.name = freed.name
"""

_ASK = """
WITH put AS (
    UPDATE {elections} SET asked = token, asked_heir = $3
    WHERE name = $1 AND token = $2 AND instance IS NOT NULL AND expires > clock_timestamp()
    RETURNING name, token, instance
)
SELECT pg_notify($4, json_build_object(
    'ask', true, 'e', name, 't', token, 'i', instance, 'h', $3::text)::text) FROM put
"""

_DESCRIBE = """
SELECT e.name, e.token, e.expires > c.at AS lasts, e.holder, e.instance, e.heir,
       to_char(e.since AT TIME ZONE 'UTC', {iso}) AS since,
       ceil(extract(epoch FROM e.expires - c.at) * 1000000)::bigint AS left_us,
       (SELECT json_agg(w.name ORDER BY w.since, w.instance) FROM {waiters} w
        WHERE w.election = e.name AND w.until > c.at) AS waiting
FROM (SELECT clock_timestamp() AS at OFFSET 0) c CROSS JOIN {elections} e {which}
ORDER BY e.name
"""

# A tenure that ran out is only written off by the next one: until then, say so all the same.
_HISTORY = """
SELECT token, holder, to_char(began AT TIME ZONE 'UTC', {iso}) AS began,
       to_char(ended AT TIME ZONE 'UTC', {iso}) AS ended, reason
FROM (
    SELECT t.token, t.holder, t.began,
           CASE WHEN over THEN coalesce(e.expires, lag(t.began) OVER newest_first)
                ELSE t.ended END AS ended,
           CASE WHEN over THEN 'expired' ELSE t.reason END AS reason
    FROM {tenures} t LEFT JOIN {elections} e ON e.name = t.election AND e.token = t.token,
         LATERAL (SELECT t.ended IS NULL AND (e.expires > clock_timestamp()) IS NOT TRUE
                  AS over) o
    WHERE t.election = $1
    WINDOW newest_first AS (ORDER BY t.token DESC)
) past ORDER BY token DESC LIMIT $2
"""

# A session compiles a trigger, and plans what is in it, when it first fires there: milliseconds, in
# the very moment in which an office changes hands. So it does that once in vain. Nothing of it
# stays, nobody is told, and no election can have that name.
_REHEARSAL = """
DO $elector$
DECLARE
    nobody text := 'rehearsal of ' || pg_backend_pid();
    at timestamptz := clock_timestamp();
BEGIN
    INSERT INTO {elections} (name, token, holder, instance, since, ttl, expires)
        VALUES (nobody, 1, '', '', at, interval '0', at);
    UPDATE {elections} SET holder = NULL, instance = NULL, since = NULL WHERE name = nobody;
    UPDATE {elections} SET token = 2, holder = '', instance = '', since = at WHERE name = nobody;
    RAISE EXCEPTION USING ERRCODE = 'EL000';
EXCEPTION
    WHEN SQLSTATE 'EL000' THEN NULL;
END
$elector$
"""

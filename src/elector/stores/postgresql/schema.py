"""The tables of the PostgreSQL store, and what the database itself keeps true about them.

A row of ``<table>_elections`` is an election. Whoever writes, by whatever means, triggers see
to it that the row is never deleted and its token never falls, that each tenure is written down
in ``<table>_tenures``, and that those who listen are told in the same transaction. So what is
announced has happened, and what has happened is announced.

``<table>_waiters`` only says who waits, for people and for transfers. It is not logged: it is
empty after a crash, and the candidates are in it again when they next ask.
"""

from typing import NamedTuple

VERSION = 1
KEPT_TENURES = 1000

CORRUPT = "EL001"  # the SQLSTATE that our triggers raise

_MARK = "elector schema "

INSPECT = """
SELECT n.nspname AS schema, c.oid AS oid, c.relkind::text AS kind,
       obj_description(c.oid, 'pg_class') AS mark
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass($1)
"""


class Tables(NamedTuple):
    """The names of our tables, ready to stand in a statement.

    Attributes:
        schema: where they are, as the catalogue spells it.
        prefix: what their names begin with.
    """

    schema: str
    prefix: str

    @property
    def elections(self) -> str:
        """The quoted name of the table of elections."""
        return self._quoted("elections")

    @property
    def tenures(self) -> str:
        """The quoted name of the table of tenures."""
        return self._quoted("tenures")

    @property
    def waiters(self) -> str:
        """The quoted name of the table of waiting candidates."""
        return self._quoted("waiters")

    def _quoted(self, what: str) -> str:
        return f"{quoted(self.schema)}.{quoted(f'{self.prefix}_{what}')}"

    def __str__(self) -> str:
        """The tables, in words."""
        return f"{self.schema}.{self.prefix}_*"

    def ddl(self) -> str:
        """The statements that make the tables, in one transaction."""
        return _DDL.format(
            elections=self.elections,
            tenures=self.tenures,
            waiters=self.waiters,
            record=self._quoted("record"),
            protect=self._quoted("protect"),
            mark=f"{_MARK}{VERSION}",
            corrupt=CORRUPT,
            kept=KEPT_TENURES,
        )

    def grants(self, user: str) -> str:
        """What a role must be allowed to do with them."""
        every = f"{self.elections}, {self.tenures}, {self.waiters}"
        return (
            f"GRANT USAGE ON SCHEMA {quoted(self.schema)} TO {quoted(user)}; "
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {every} TO {quoted(user)}"
        )


def quoted(name: str) -> str:
    """An identifier as SQL writes it.

    >>> quoted('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def version_of(mark: str | None) -> int | None:
    """The schema version that a table's comment declares; None if it is no table of ours.

    >>> version_of("elector schema 1"), version_of("customers"), version_of(None)
    (1, None, None)
    """
    number = mark.removeprefix(_MARK) if mark and mark.startswith(_MARK) else ""
    return int(number) if number.isdecimal() else None


# `expires` is when the office is to be had again: the end of a lease, or of the time for which
# a vacant office is kept for an heir.
_DDL = """\
CREATE TABLE {elections} (
    name text COLLATE "C" PRIMARY KEY,
    token bigint NOT NULL CHECK (token > 0),
    holder text,
    instance text,
    since timestamptz,
    ttl interval NOT NULL,
    expires timestamptz NOT NULL,
    heir text,
    reason text,
    asked bigint,
    asked_heir text,
    CHECK ((instance IS NULL) = (holder IS NULL) AND (instance IS NULL) = (since IS NULL))
) WITH (fillfactor = 50);
COMMENT ON TABLE {elections} IS '{mark}';

CREATE TABLE {tenures} (
    election text COLLATE "C" NOT NULL,
    token bigint NOT NULL,
    holder text NOT NULL,
    instance text NOT NULL,
    began timestamptz NOT NULL,
    ended timestamptz,
    reason text,
    PRIMARY KEY (election, token)
);

CREATE UNLOGGED TABLE {waiters} (
    election text COLLATE "C" NOT NULL,
    instance text NOT NULL,
    name text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    until timestamptz NOT NULL,
    PRIMARY KEY (election, instance)
);

CREATE FUNCTION {protect}() RETURNS trigger LANGUAGE plpgsql AS $elector$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '{corrupt}', MESSAGE =
        'elections are never deleted, since their tokens would start again';
END
$elector$;

CREATE FUNCTION {record}() RETURNS trigger LANGUAGE plpgsql AS $elector$
DECLARE
    at timestamptz := clock_timestamp();
    newest bigint;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.token < OLD.token OR NEW.name <> OLD.name OR (NEW.token = OLD.token
            AND NEW.instance IS NOT NULL AND NEW.instance IS DISTINCT FROM OLD.instance)
        THEN
            RAISE EXCEPTION USING ERRCODE = '{corrupt}', MESSAGE = format(
                'election %s: its token may not go from %s to %s, nor change hands without rising',
                OLD.name, OLD.token, NEW.token);
        END IF;
        IF OLD.instance IS NOT NULL
            AND (NEW.instance IS DISTINCT FROM OLD.instance OR NEW.token > OLD.token)
        THEN
            UPDATE {tenures} SET
                ended = least(at, OLD.expires),
                reason = CASE WHEN NEW.instance IS NULL THEN NEW.reason ELSE 'expired' END
            WHERE election = OLD.name AND token = OLD.token AND ended IS NULL;
        END IF;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.token > OLD.token THEN
        SELECT max(token) INTO newest FROM {tenures} WHERE election = NEW.name;
        IF newest >= NEW.token THEN
            RAISE EXCEPTION USING ERRCODE = '{corrupt}', MESSAGE = format(
                'election %s is to have token %s, but its history has %s: a token never goes back',
                NEW.name, NEW.token, newest);
        END IF;
        IF NEW.instance IS NOT NULL THEN
            INSERT INTO {tenures} VALUES (NEW.name, NEW.token, NEW.holder, NEW.instance, NEW.since);
        END IF;
        IF NEW.token % 50 = 0 THEN
            DELETE FROM {tenures} WHERE election = NEW.name AND token <= NEW.token - {kept};
        END IF;
        DELETE FROM {waiters} w USING (
            SELECT election, instance FROM {waiters}
            WHERE election = NEW.name AND (instance = NEW.instance OR until < at)
            FOR UPDATE SKIP LOCKED
        ) gone WHERE w.election = gone.election AND w.instance = gone.instance;
    END IF;
    PERFORM pg_notify('elector_' || TG_RELID, json_build_object(
        'e', NEW.name, 't', NEW.token, 'l', NEW.holder, 'i', NEW.instance, 'h', NEW.heir,
        'us', greatest(0, ceil(extract(epoch FROM NEW.expires - at) * 1000000))::bigint)::text);
    RETURN NULL;
END
$elector$;

CREATE TRIGGER protect BEFORE DELETE OR TRUNCATE ON {elections}
    FOR EACH STATEMENT EXECUTE FUNCTION {protect}();
CREATE TRIGGER record_first AFTER INSERT ON {elections}
    FOR EACH ROW EXECUTE FUNCTION {record}();
CREATE TRIGGER record_change AFTER UPDATE ON {elections} FOR EACH ROW
    WHEN ((OLD.name, OLD.token, OLD.instance, OLD.heir)
        IS DISTINCT FROM (NEW.name, NEW.token, NEW.instance, NEW.heir))
    EXECUTE FUNCTION {record}();
"""

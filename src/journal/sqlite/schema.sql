-- Version 1. Times are RFC 3339 in UTC. Open it with sqlite3 to look; never write to it.

CREATE TABLE meta (
    schema_version INTEGER NOT NULL
) STRICT;

INSERT INTO meta (schema_version) VALUES (1);

-- One row per run that has events. Everything but the id and the order is read out of the events, in the same
-- transaction that adds them.
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    plan TEXT NOT NULL,
    cloud TEXT NOT NULL,
    event_version INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    ending TEXT
) STRICT;

-- The primary key is also the fence: of two writers of one run, the one that has not seen the other's last event
-- cannot add its own.
CREATE TABLE events (
    run TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

-- Host names are only unique within a cloud.
CREATE TABLE leases (
    cloud TEXT NOT NULL,
    host TEXT NOT NULL,
    run TEXT NOT NULL,
    PRIMARY KEY (cloud, host)
) STRICT, WITHOUT ROWID;

CREATE INDEX leases_of_run ON leases (run);

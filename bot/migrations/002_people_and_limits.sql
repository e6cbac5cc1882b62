-- What the staff of a server decided, as the JSON of bot.policy.Policy; no row: nothing yet.
CREATE TABLE servers (
    guild_id INTEGER PRIMARY KEY,
    policy TEXT NOT NULL
) STRICT;
INSERT INTO servers (guild_id, policy)
SELECT guild_id,
    json_object(
        'limits', json(coalesce((
            SELECT json_object('member', json(value), 'tutor', json(value), 'admin', json(value))
            FROM state WHERE key = 'limits:' || guild_id), '{}')),
        'roles', json(coalesce((
            SELECT json_object('tutor', json_array(CAST(value AS INTEGER)))
            FROM state WHERE key = 'tutors:' || guild_id AND value != ''), '{}')))
FROM (
    SELECT DISTINCT CAST(substr(key, 8) AS INTEGER) AS guild_id
    FROM state WHERE key GLOB 'limits:[0-9]*' OR key GLOB 'tutors:[0-9]*'
);
DELETE FROM state WHERE key GLOB 'limits:[0-9]*' OR key GLOB 'tutors:[0-9]*';

-- Who changed what. `subject_id`: the person whom it was done to, forgotten when they erase themselves.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    guild_id INTEGER NOT NULL,
    at REAL NOT NULL,
    actor_id INTEGER NOT NULL,
    action TEXT NOT NULL,
    text TEXT NOT NULL,
    subject_id INTEGER
) STRICT;
CREATE INDEX audit_by_server ON audit (guild_id, id);

-- The role that somebody had when they last did something; NULL counts as member.
ALTER TABLE people ADD COLUMN role TEXT;

-- Device seconds that a job was expected to take when it was promised.
ALTER TABLE jobs ADD COLUMN estimated_seconds REAL NOT NULL DEFAULT 0;
-- Whether staff cancelled it, which costs its owner nothing.
ALTER TABLE jobs ADD COLUMN by_staff INTEGER NOT NULL DEFAULT 0;

-- When a device really worked on an attempt, by its worker's clock; `costs`: whether that counts against the person.
CREATE TABLE attempts (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    started_at REAL NOT NULL,
    seen_at REAL NOT NULL,
    costs INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (job_id, attempt)
) STRICT;

-- Device time of people who erased themselves, by a salted hash of who it was, until the week is over.
CREATE TABLE leftovers (
    who TEXT NOT NULL,
    seconds REAL NOT NULL,
    until REAL NOT NULL
) STRICT;

ALTER TABLE models ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE models SET bytes = coalesce((
    SELECT json_extract(event, '$.data.adapter_bytes') FROM events
    WHERE events.job_id = models.job_id AND json_extract(event, '$.type') = 'result' LIMIT 1), 0);

-- Which text a person agreed to when they brought a file, and the licence that they named.
ALTER TABLE datasets ADD COLUMN consent_version TEXT;
ALTER TABLE datasets ADD COLUMN licence TEXT;
UPDATE datasets SET consent_version = '1' WHERE consent_at IS NOT NULL;

-- When somebody last wrote in a conversation; of older ones nobody knows, so their time begins now.
ALTER TABLE chats ADD COLUMN used_at REAL;
UPDATE chats SET used_at = CAST(strftime('%s', 'now') AS REAL);

-- When the owner was told that it will be deleted for not being used; NULL: not yet.
ALTER TABLE datasets ADD COLUMN warned_at REAL;

-- Whether the work folders of a job that is over were cleared.
ALTER TABLE jobs ADD COLUMN cleared INTEGER NOT NULL DEFAULT 0;

-- Who is gone, until they come back or their things are erased; user 0: Afina was taken out of the whole server.
CREATE TABLE departures (
    guild_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY (guild_id, user_id)
) STRICT;

-- What was deleted here and may still lie elsewhere: in Redis, on disks of workers, in the engine.
CREATE TABLE erasures (
    kind TEXT NOT NULL CHECK (kind IN ('job', 'adapter', 'dataset')),
    key TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    since REAL NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT;

CREATE TABLE people (
    guild_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    workshop_thread_id INTEGER,
    PRIMARY KEY (guild_id, user_id)
) STRICT;

CREATE TABLE datasets (
    id TEXT PRIMARY KEY,
    guild_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    parent_id TEXT,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    format TEXT,
    verdict TEXT NOT NULL,
    examples INTEGER NOT NULL,
    usable INTEGER NOT NULL,
    report TEXT NOT NULL,
    validation_id TEXT,
    consent_at REAL,
    created_at REAL NOT NULL,
    UNIQUE (guild_id, user_id, name, version)
) STRICT;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    guild_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    dataset_id TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    phase TEXT,
    attempt INTEGER NOT NULL DEFAULT 1,
    failures INTEGER NOT NULL DEFAULT 0,
    step INTEGER NOT NULL DEFAULT 0,
    total_steps INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    pause_requested INTEGER NOT NULL DEFAULT 0,
    lease_until REAL,
    error TEXT,
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    channel_id INTEGER,
    message_id INTEGER
) STRICT;
CREATE INDEX jobs_by_owner ON jobs (guild_id, user_id, created_at);
CREATE INDEX jobs_by_state ON jobs (state, created_at);

-- One row an attempt; `sent_at` is NULL until Redis has it.
CREATE TABLE outbox (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    created_at REAL NOT NULL,
    sent_at REAL,
    PRIMARY KEY (job_id, attempt)
) STRICT;

CREATE TABLE events (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    created_at REAL NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (job_id, attempt, seq)
) STRICT;

CREATE TABLE models (
    id TEXT PRIMARY KEY,
    guild_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    name TEXT NOT NULL COLLATE NOCASE,
    adapter_name TEXT NOT NULL UNIQUE,
    adapter_path TEXT NOT NULL,
    adapter_sha256 TEXT NOT NULL,
    base_id TEXT NOT NULL,
    job_id TEXT NOT NULL UNIQUE,
    parent_id TEXT,
    dataset_id TEXT NOT NULL,
    dataset_sha256 TEXT NOT NULL,
    shared INTEGER NOT NULL DEFAULT 0,
    evaluation TEXT,
    created_at REAL NOT NULL,
    UNIQUE (guild_id, user_id, name)
) STRICT;

-- No foreign key on model_id: NULL means the base itself, and a deleted model must never turn into it.
CREATE TABLE chats (
    thread_id INTEGER PRIMARY KEY,
    guild_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    model_id TEXT,
    base_id TEXT NOT NULL,
    instructions TEXT NOT NULL,
    parameters TEXT NOT NULL,
    since_message_id INTEGER NOT NULL DEFAULT 0,
    closed INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL
) STRICT;

CREATE TABLE seen (
    kind TEXT NOT NULL,
    key INTEGER NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE votes (
    kind TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    guild_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    value TEXT NOT NULL,
    data TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (kind, message_id, user_id)
) STRICT;

CREATE TABLE feedback (
    id INTEGER PRIMARY KEY,
    guild_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    sources TEXT NOT NULL,
    value INTEGER NOT NULL,
    created_at REAL NOT NULL
) STRICT;

CREATE TABLE state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

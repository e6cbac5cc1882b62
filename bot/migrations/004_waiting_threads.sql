-- Chat threads that were told that the engine's memory is lent to a training job.
CREATE TABLE waiting_threads (
    thread_id INTEGER PRIMARY KEY,
    message_id INTEGER, -- to be answered when the engine is back; NULL: only told
    told_at REAL NOT NULL
) STRICT;

-- A change of a request is a path, or a key, which has a bucket and no event.

-- A JSON list: the only distributions that a request's keys are mapped to. NULL: all.
ALTER TABLE requests ADD COLUMN distributions TEXT;

-- What the caller sent to repeat the request safely, and the SHA-256 of the body.
ALTER TABLE requests ADD COLUMN idempotency_key TEXT;
ALTER TABLE requests ADD COLUMN body BLOB;
CREATE INDEX requests_by_key ON requests (token, idempotency_key, seq)
    WHERE idempotency_key IS NOT NULL;

-- The bytes of a module are kept beside the database, by the SHA-256 of what they are. Modules that
-- were put before stay in `wasm`, which is empty for the others.
ALTER TABLE module ADD COLUMN blob BLOB;
CREATE INDEX module_blob ON module (blob) WHERE blob IS NOT NULL;

-- The bytes of a module are kept beside the database, by their SHA-256. Modules stored before this
-- migration stay in `wasm`, which is empty for the others.
ALTER TABLE module ADD COLUMN blob BLOB;
CREATE INDEX module_blob ON module (blob) WHERE blob IS NOT NULL;

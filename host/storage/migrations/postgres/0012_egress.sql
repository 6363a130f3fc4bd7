-- What an attempt sent to other machines: requests, bytes in and bytes out, as JSON; NULL for nothing.
ALTER TABLE cofferdam.attempt ADD COLUMN egress text;

//! Tests of the files: what is durable, what is refused, what is swept.

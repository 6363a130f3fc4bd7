//! Hostile guests against every limit, and what well-behaved ones get.

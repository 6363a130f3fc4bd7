//! What modules say of themselves, and schemas: what they may cost, and that they hold.

mod cost;
mod held;

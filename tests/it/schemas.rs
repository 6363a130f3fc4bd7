//! Modules' descriptions and schemas: their cost, and their enforcement.

mod cost;
mod held;

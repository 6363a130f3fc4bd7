//! Stands for the cli layer until it lands.

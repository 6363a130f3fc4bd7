//! Stands for the http layer until it lands.

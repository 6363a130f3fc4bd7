//! Stands for the app layer until it lands.

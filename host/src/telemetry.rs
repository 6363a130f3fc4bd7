//! Stands for the telemetry layer until it lands.

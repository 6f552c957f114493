"""Running it: embedded servers, supervision, endpoints, telemetry, and the wiring of the parts."""

"""Run requests of many clients in one engine, which a thread of its own drives."""

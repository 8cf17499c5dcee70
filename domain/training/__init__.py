"""Training configuration, examples, schedules and errors."""

"""Hardware, memory and profiling."""

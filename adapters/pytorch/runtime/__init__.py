"""The machine as torch sees it: hardware, memory, versions, profiling."""

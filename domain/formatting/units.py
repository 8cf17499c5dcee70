"""Format counts, sizes and durations."""


def format_count(number: int, noun: str) -> str:
    """Format a count with its noun: `1 step`, `2,000 steps`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_bytes(nbytes: int) -> str:
    """Format a number of bytes with decimal units: `93.1 MB`, `1.2 GB`."""
    for unit, worth in (("GB", 10**9), ("MB", 10**6)):
        if nbytes >= worth:
            return f"{nbytes / worth:,.1f} {unit}"
    return f"{nbytes / 1000:,.1f} kB"


def format_duration(seconds: float) -> str:
    """Format a duration in its two largest units: `0.4 s`, `45 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"

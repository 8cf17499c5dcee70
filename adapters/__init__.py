"""One technology each: what answers the ports."""

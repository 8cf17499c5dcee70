"""What every request passes: keys, hosts, limits and the log, as pure ASGI middleware."""

"""Requests, sampling parameters, stop conditions and events of generation."""

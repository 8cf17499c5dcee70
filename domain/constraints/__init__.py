"""Constraints on answers: what users ask for, and the states that exclude tokens."""

"""Beam search: requests and hypotheses, and the loop over the steps of an engine."""

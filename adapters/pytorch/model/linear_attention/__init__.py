"""Mixers with a state of fixed size, besides the gated delta rule and state space models."""

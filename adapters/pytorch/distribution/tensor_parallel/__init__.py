"""Tensor parallelism: every layer is split over all ranks."""

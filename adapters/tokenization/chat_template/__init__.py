"""The sandbox in which chat templates are rendered."""

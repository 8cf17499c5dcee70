"""A description of the API, as an OpenAPI document and as tables."""

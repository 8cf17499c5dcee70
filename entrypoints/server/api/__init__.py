"""LitGPT's own routes: scores, ranks, tokens, `/predict`, and the description of the API."""

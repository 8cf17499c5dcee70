"""An HTTP server for a model: OpenAI's API, and a page to chat with it."""

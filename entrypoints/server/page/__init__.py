"""The page to chat with the model in a browser."""

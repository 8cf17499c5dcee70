"""Messages, chat templates and prompt styles."""

"""What `litgpt batch` is made of."""

"""Use cases of fine-tuning: encoding examples and saving the result."""

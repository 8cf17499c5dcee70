"""Tool calls and reasoning in the text of an answer: the formats of models, and one parser for all."""

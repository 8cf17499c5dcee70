"""PEFT adapter folders."""

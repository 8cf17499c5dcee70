"""LoRA configurations, target modules and adapter weights."""

"""LoRA adapters: child modules of the layers whose output or parameters they change."""

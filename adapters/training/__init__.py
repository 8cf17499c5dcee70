"""What the Lightning Trainer works with: data modules, callbacks, the loss."""

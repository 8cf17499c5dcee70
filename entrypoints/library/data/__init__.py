"""Data to train on, as LightningDataModules."""

"""Data sets as LightningDataModules."""

"""Model stores: local folders, single files and installed packages, as implementations of ModelStore."""

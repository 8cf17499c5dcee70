"""The Hugging Face Hub: repositories, the local cache, and downloads."""

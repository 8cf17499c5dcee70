"""Log-probabilities of given tokens: requests, common prefixes, windows of long texts."""

"""The engine room: the network, its cache, sampling, and building a model on a device."""

"""The native engine: runs models on the CPU with kernels of its own, in C++ (see csrc/README.md)."""

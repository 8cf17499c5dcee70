"""The instruction sets of the CPU, detected without torch on Linux and Apple silicon."""

import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

_ARM_FEATURES = {"bf16": "neon_bf16", "fphp": "neon_fp16", "asimdhp": "neon_fp16", "i8mm": "neon_i8mm"}
_APPLE_FEATURES = {"FEAT_BF16": "neon_bf16", "FEAT_FP16": "neon_fp16", "FEAT_I8MM": "neon_i8mm"}
_X86_FEATURES = frozenset(
    {
        "avx2",
        "avx512f",
        "avx512_bf16",
        "avx512_fp16",
        "avx512_vnni",
        "avx_vnni",
        "amx_bf16",
        "amx_fp16",
        "amx_int8",
    }
)


@cache
def cpu_features() -> frozenset[str]:
    """Return the features on which matrix products depend, named as in `domain.distribution.cpu_matmul`."""
    if sys.platform == "linux":
        return linux_features(Path("/proc/cpuinfo").read_text(errors="replace"))
    if sys.platform == "darwin" and platform.machine() == "arm64":
        command = ["/usr/sbin/sysctl", "hw.optional.arm"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a constant
        return apple_features(run.stdout)
    return _torch_features()


def linux_features(cpuinfo: str) -> frozenset[str]:
    """Return the features in `/proc/cpuinfo`: `flags` on x86, `Features` on ARM."""
    line = re.search(r"^(flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    if line is None:
        return frozenset()
    listed = frozenset(line[2].split())
    if line[1] == "flags":
        return listed & _X86_FEATURES
    return frozenset(name for feature, name in _ARM_FEATURES.items() if feature in listed)


def apple_features(sysctl: str) -> frozenset[str]:
    """Return the features of Apple silicon in the output of `sysctl hw.optional.arm`."""
    enabled = set(re.findall(r"^hw\.optional\.arm\.(\w+): 1$", sysctl, re.MULTILINE))
    return frozenset(name for feature, name in _APPLE_FEATURES.items() if feature in enabled)


def _torch_features() -> frozenset[str]:
    from torch import cpu

    queries = {
        "avx2": "_is_avx2_supported",
        "avx512f": "_is_avx512_supported",
        "avx512_bf16": "_is_avx512_bf16_supported",
        "avx512_vnni": "_is_vnni_supported",
        "amx_bf16": "_is_amx_tile_supported",
        "amx_fp16": "_is_amx_fp16_supported",
    }
    return frozenset(name for name, query in queries.items() if getattr(cpu, query, bool)())

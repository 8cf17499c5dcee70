"""The instruction sets of this machine's processor. torch is not imported where the system tells them."""

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
    """Return the features that decide how fast products are.

    As `litgpt.domain.distribution.cpu_matmul` names them.
    """
    if sys.platform == "linux":
        return linux_features(Path("/proc/cpuinfo").read_text(errors="replace"))
    if sys.platform == "darwin" and platform.machine() == "arm64":
        asked = ["/usr/sbin/sysctl", "hw.optional.arm"]
        run = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603 - as written above
        return apple_features(run.stdout)
    return _torch_features()


def linux_features(cpuinfo: str) -> frozenset[str]:
    """Return the features that `/proc/cpuinfo` lists, of x86 as `flags` and of ARM as `Features`."""
    line = re.search(r"^(flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    if line is None:
        return frozenset()
    listed = frozenset(line[2].split())
    if line[1] == "flags":
        return listed & _X86_FEATURES
    return frozenset(name for feature, name in _ARM_FEATURES.items() if feature in listed)


def apple_features(sysctl: str) -> frozenset[str]:
    """Return the features that `sysctl hw.optional.arm` says an Apple processor has."""
    there = set(re.findall(r"^hw\.optional\.arm\.(\w+): 1$", sysctl, re.MULTILINE))
    return frozenset(name for feature, name in _APPLE_FEATURES.items() if feature in there)


def _torch_features() -> frozenset[str]:
    from torch import cpu

    asked = {
        "avx2": "_is_avx2_supported",
        "avx512f": "_is_avx512_supported",
        "avx512_bf16": "_is_avx512_bf16_supported",
        "avx512_vnni": "_is_vnni_supported",
        "amx_bf16": "_is_amx_tile_supported",
        "amx_fp16": "_is_amx_fp16_supported",
    }
    return frozenset(name for name, question in asked.items() if getattr(cpu, question, bool)())

"""`litgpt info --devices N`: memory needs per device of a distributed model."""

from collections.abc import Iterator
from typing import Any

import attrs

from litgpt.cli import console
from litgpt.cli.info import DTYPES_SHOWN
from litgpt.domain.distribution.placement import Strategy
from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from litgpt.domain.formatting.units import format_bytes
from litgpt.domain.memory.estimate import MemoryEstimate
from litgpt.domain.memory.per_device import memory_per_device
from litgpt.domain.model import Architecture

STRATEGIES: tuple[Strategy, ...] = ("sequential", "tensor_parallel")


@attrs.frozen
class DeviceReport:
    """Memory needs per device for one strategy, by label in `DTYPES_SHOWN`; empty if it was `refused`."""

    strategy: Strategy
    needs: dict[str, tuple[MemoryEstimate, ...]]
    refused: str | None = None


def device_reports(architecture: Architecture, num_devices: int) -> list[DeviceReport]:
    """Return the memory needs per device for each strategy; empty for a single device."""
    if num_devices < 1:
        raise InvalidArgument("devices", num_devices, "a positive integer")
    return [_device_report(architecture, num_devices, name) for name in STRATEGIES if num_devices > 1]


def show(reports: list[DeviceReport], num_devices: int) -> None:
    """Write the memory needs of the fullest device for each strategy."""
    console.show("")
    console.heading(f"Memory needs of the fullest of {num_devices} devices, with the full context")
    console.table([("", *DTYPES_SHOWN), *_rows(reports)], indent=2, numbers=True)
    for report in reports:
        if report.refused is not None:
            console.show(f"  {report.refused}")


def as_dict(reports: list[DeviceReport]) -> dict[str, Any]:
    """Return the reports as JSON values, with the estimates of every device."""
    return {
        report.strategy: {
            "refused": report.refused,
            "needs": {
                name: [{**attrs.asdict(device), "total": device.total} for device in devices]
                for name, devices in report.needs.items()
            },
        }
        for report in reports
    }


def _device_report(architecture: Architecture, num_devices: int, strategy: Strategy) -> DeviceReport:
    try:
        needs = {
            name: memory_per_device(
                architecture,
                strategy=strategy,
                num_devices=num_devices,
                dtype=dtype,
                tokens=architecture.context_length,
                quantize=quantize,
            )
            for name, (dtype, quantize) in DTYPES_SHOWN.items()
        }
    except UnsupportedOperation as error:
        return DeviceReport(strategy, {}, str(error))
    return DeviceReport(strategy, needs)


def _rows(reports: list[DeviceReport]) -> Iterator[tuple[str, ...]]:
    for report in reports:
        most = [format_bytes(max(device.total for device in devices)) for devices in report.needs.values()]
        yield report.strategy, *(most or ["-"] * len(DTYPES_SHOWN))

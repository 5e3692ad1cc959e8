"""Ways of offloading a pipeline that a CPU can run.

The CPU is the device that computes too: the hooks that fetch weights and take them away are the same as on a GPU,
and so is where weights are meanwhile (on the meta device, on disk).
"""

from __future__ import annotations

import accelerate
import torch

CPU = torch.device("cpu")


def networks(pipeline) -> dict[str, torch.nn.Module]:
    return {n: c for n, c in pipeline.components.items() if isinstance(c, torch.nn.Module)}


def model_offload(pipeline, folder) -> None:
    pipeline.enable_model_cpu_offload(device="cpu")


def sequential_offload(pipeline, folder) -> None:
    # As enable_sequential_cpu_offload does it; that one asks for cpu:0, to which torch moves nothing in place.
    for network in networks(pipeline).values():
        accelerate.cpu_offload(network, CPU, offload_buffers=len(network._parameters) > 0)


def disk_offload(pipeline, folder) -> None:
    accelerate.disk_offload(pipeline.transformer, str(folder), execution_device=CPU)


def group_offload(level: str, to_disk: bool = False):
    arguments = {
        "onload_device": CPU,
        "offload_device": CPU,
        "offload_type": level,
        "num_blocks_per_group": 1,
    }

    def offload(pipeline, folder) -> None:
        if to_disk:
            pipeline.transformer.enable_group_offload(**arguments, offload_to_disk_path=str(folder))
        else:
            pipeline.enable_group_offload(**arguments)

    return offload


OFFLOADS = {
    "model offload": model_offload,
    "sequential offload": sequential_offload,
    "disk offload": disk_offload,
    "group offload, blocks": group_offload("block_level"),
    "group offload, leaves": group_offload("leaf_level"),
    "group offload, blocks to disk": group_offload("block_level", to_disk=True),
    "group offload, leaves to disk": group_offload("leaf_level", to_disk=True),
}

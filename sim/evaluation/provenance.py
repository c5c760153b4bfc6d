"""Where results come from, and what their reader has to know about them."""

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sim.libero.assets import NOT_COMPARABLE, Assets
from sim.machine import description
from sim.machine.gl_driver import Driver

if TYPE_CHECKING:
    from policy import Policy


def machine(driver: Driver, policy: "Policy | None") -> dict[str, Any]:
    """What episodes were played on: processor, GPUs, GL driver, and the policy's device where that is known."""
    return {
        "cpu": description.cpu(),
        "gpu": description.gpus(),
        "gl": dataclasses.asdict(driver),
        "policy_device": _device(policy),
    }


def _device(policy: "Policy | None") -> str | None:
    """What a policy in this process computes on."""
    device = getattr(policy, "device", None)
    if device is None:
        return None
    import torch

    place = torch.device(device)
    return f"{place} {torch.cuda.get_device_name(place)}" if place.type == "cuda" else str(place)


def now() -> str:
    """The date and time, with the zone, as ISO 8601 writes them."""
    return datetime.now().astimezone().isoformat(" ", timespec="seconds")


def notes(assets: Assets, policy: dict[str, Any]) -> list[str]:
    """What a reader must not overlook, a sentence each: results keep them, table and terminal show them.

    Args:
        policy: how the policy describes itself; empty for the expert. ``assets`` in it: the digest of the assets that
            it learned from, or several.
    """
    found = []
    if assets.procedural:
        found.append(f"played in the procedural pack: {NOT_COMPARABLE}")
    learned = policy.get("assets") or []
    learned = [learned] if isinstance(learned, str) else list(learned)
    if learned and assets.digest not in learned:
        found.append(
            f"the policy learned from the assets {' and '.join(map(str, learned))}, this run uses {assets.digest} "
            f"({assets.source}): success may be lower than in the world that it knows"
        )
    return found

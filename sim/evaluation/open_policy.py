"""Opens the policy that a command line names: a bundle, an export, or whatever answers at a policy server's address."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.conventions import VIEWS
from common.errors import UserError, require
from policy import DEFAULT_BUNDLE
from policy.remote import ADDRESSES

if TYPE_CHECKING:
    from policy import Policy
    from policy.runtimes.opening import LocalPolicy


def open_policy(
    source: str,
    checkpoint: Path | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    blank_codes: bool = False,
    ar_sampling: str = "argmax",
    temperature: float = 1.0,
    seed: int = 0,
    **computing: Any,
) -> "Policy":
    """The policy of ``sim.eval --policy SOURCE``: ``bundle``, or the address of a server.

    Args:
        checkpoint, device, threads, computing: as ``open_bundle`` takes them.
        blank_codes: hide the motion codes from the inverse model.
        ar_sampling, temperature, seed: how codes are chosen, as ``policy.forward_dynamics.ar_sampling`` takes it.

    Raises:
        UserError: there is none, it is not one of ours, it wants other views than LIBERO has, or a server cannot be
            told what is asked for here.
    """
    if source.startswith(ADDRESSES):
        from policy.remote import RemotePolicy

        if checkpoint or blank_codes or ar_sampling != "argmax" or device or threads or any(computing.values()):
            raise UserError("what to compute, and how, has to be told to the server, not to its client")
        policy: Policy = RemotePolicy(source)
    else:
        policy = bundle = open_bundle(checkpoint or DEFAULT_BUNDLE, device=device, threads=threads, **computing)
        bundle.blank_codes = blank_codes
        if ar_sampling != "argmax":
            from policy.amplify import Amplify
            from policy.forward_dynamics import ar_sampling as sampling_of

            require(isinstance(bundle, Amplify), "--ar-sampling is of torch; an exported policy chooses the likeliest")
            assert isinstance(bundle, Amplify)
            bundle.choose_codes(sampling_of(ar_sampling, temperature), seed)
    if (kind := policy.describe().get("action_key", "actions")) != "actions":
        raise UserError(f"the policy's actions are {kind}, which LIBERO's arm does not take; it is for robots")
    if not set(policy.views) <= set(VIEWS):
        raise UserError(f"the policy needs the views {', '.join(policy.views)}; LIBERO has {', '.join(VIEWS)}")
    return policy


def open_bundle(
    path: Path, *, device: str | None = None, threads: int | None = None, **computing: Any
) -> "LocalPolicy":
    """The policy in the bundle, or exported folder, at ``path``.

    Args:
        device: of torch; a GPU if there is one, else the CPU.
        threads: that the policy computes with; as ``policy.load_policy`` chooses if absent.
        computing: runtime, precision, compiled, as ``policy.load_runtime`` takes them.

    Raises:
        UserError: there is no such file, it is not one of our policies, or cannot be computed so.
    """
    if not path.exists():
        raise UserError(
            f"no bundle at {path}; name one with --checkpoint FILE (training ends with 'python -m policy.bundle')"
        )
    from policy import load_runtime

    return load_runtime(path, device=device, threads=threads, **computing)

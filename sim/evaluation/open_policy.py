"""Opens the policy that a command line names: a bundle on disk, or whatever answers at a policy server's address."""

from pathlib import Path
from typing import TYPE_CHECKING

from common.conventions import VIEWS
from common.errors import UserError
from policy import DEFAULT_BUNDLE
from policy.remote import ADDRESSES

if TYPE_CHECKING:
    from policy import Policy
    from policy.amplify import Amplify


def open_policy(
    source: str,
    checkpoint: Path | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    blank_codes: bool = False,
) -> "Policy":
    """The policy of ``sim.eval --policy SOURCE``: ``bundle``, or the address of a server.

    Args:
        checkpoint, device, threads: as ``open_bundle`` takes them.
        blank_codes: hide the motion codes from the inverse model.

    Raises:
        UserError: there is none, it is not one of ours, it wants other views than LIBERO has, or a server cannot be
            told what is asked for here.
    """
    if source.startswith(ADDRESSES):
        from policy.remote import RemotePolicy

        if checkpoint or blank_codes or device or threads:
            raise UserError("--checkpoint, --blank-codes, --device and --threads have to be told to the server")
        policy: Policy = RemotePolicy(source)
    else:
        policy = bundle = open_bundle(checkpoint or DEFAULT_BUNDLE, device=device, threads=threads)
        bundle.blank_codes = blank_codes
    if not set(policy.views) <= set(VIEWS):
        raise UserError(f"the policy needs the views {', '.join(policy.views)}; LIBERO has {', '.join(VIEWS)}")
    return policy


def open_bundle(path: Path, *, device: str | None = None, threads: int | None = None) -> "Amplify":
    """The policy in the bundle at ``path``.

    Args:
        device: of torch; a GPU if there is one, else the CPU.
        threads: that the policy computes with; as ``policy.load_policy`` chooses if absent.

    Raises:
        UserError: there is no such file, it is not one of our bundles, or the device cannot be used.
    """
    if not path.is_file():
        raise UserError(
            f"no bundle at {path}; name one with --checkpoint FILE (training ends with 'python -m policy.bundle')"
        )
    from policy import load_policy

    return load_policy(path, device=device, threads=threads)

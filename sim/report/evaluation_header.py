"""The head of an evaluation's page: what was evaluated, when, in which assets, with which versions."""

import time
from collections.abc import Sequence
from typing import Any

from sim.evaluation.results import Results
from sim.report import page_elements
from sim.report.page_elements import escape

SHOWN_VERSIONS = {
    "mujoco": "MuJoCo",
    "robosuite": "robosuite",
    "hf-libero": "LIBERO",
    "libero": "LIBERO",
    "torch": "torch",
}
"""Packages that change scores most, and what they call themselves; all others are in 'How it was made'."""

SHOWN_ELSEWHERE = ("command", "earlier_commands", "replay", "notes", "date")


def header(results: Sequence[Results], names: Sequence[str]) -> str:
    """Facts about each evaluation, with the notes that must stand beside its scores."""
    headings = [f"<h2>{escape(name)}</h2>" if len(names) > 1 else "" for name in names]
    return "\n".join(
        f'<section class="evaluation" aria-label="{escape(name)}">{heading}{_evaluation(result)}</section>'
        for result, name, heading in zip(results, names, headings, strict=True)
    )


def _evaluation(result: Results) -> str:
    settings, context = result.settings, result.context
    assets, versions = context.get("assets", {}), context.get("versions", {})
    changes = ", motion codes hidden" if settings.blank_codes else ""
    if settings.switch_instruction is not None:
        changes += f", instruction switched (step:task) {settings.switch_instruction}"
    facts = {
        "policy": f"{settings.policy}{changes}",
        "execution": settings.execution,
        **({"latency": f"{settings.latency_ms:g} ms"} if settings.latency_ms else {}),
        "date": _date(result),
        "episodes": str(len(result.episodes)),
        "assets": f"{assets.get('source', 'unknown')} {assets.get('digest', settings.assets)}",
        "versions": ", ".join(f"{label} {versions[key]}" for key, label in SHOWN_VERSIONS.items() if key in versions),
    }
    notes = "".join(f'<p class="warning" role="note">{escape(note)}</p>' for note in context.get("notes", []))
    commands = [*context.get("earlier_commands", []), context.get("command", "")]
    made = "".join(f"<p><code>{escape(command)}</code></p>" for command in commands)
    rest = {key: _in_words(value) for key, value in context.items() if key not in SHOWN_ELSEWHERE}
    rest["wall_time_s"] = f"{result.wall_time_s:.0f}"
    made += page_elements.facts(rest)
    return f"{notes}{page_elements.facts(facts)}<details><summary>How it was made</summary>{made}</details>"


def _in_words(value: Any) -> str:
    """Whatever a results file holds, as a line of text."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_in_words(part)}" for key, part in value.items())
    return ", ".join(map(_in_words, value)) if isinstance(value, list) else str(value)


def _date(result: Results) -> str:
    """When it began; results from before this was recorded have the date of their file."""
    seconds = result.path.stat().st_mtime
    return result.context.get("date") or time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))

"""Dataset specs: what is meant is what is read, and everything else is refused with a reason."""

import doctest
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import demos.spec
from demos.spec import MODES, DatasetSpec, SpecError, chosen_episodes, parse_specs

names = st.from_regex(r"[A-Za-z0-9_.-]+", fullmatch=True)
shares = st.one_of(st.none(), st.floats(-1, 1).filter(lambda share: share != 0 or str(share) == "0.0"))
datasets = st.builds(DatasetSpec, names, shares, shares).filter(lambda d: d.traj is not None or d.action is not None)


def test_docstring_examples_hold() -> None:
    assert doctest.testmod(demos.spec).failed == 0


@given(st.lists(datasets, min_size=1, max_size=4))
def test_a_spec_survives_being_written_and_read(chosen: list[DatasetSpec]) -> None:
    assert parse_specs(f"[{', '.join(map(str, chosen))}]") == tuple(chosen)
    assert parse_specs([str(dataset) for dataset in chosen]) == tuple(chosen)


@given(st.one_of(st.text(), st.text(alphabet="[]libero_10:,traj action.-0519")))
def test_any_other_text_is_refused_by_a_spec_error(text: str) -> None:
    try:
        parsed = parse_specs(text)
    except SpecError:
        return
    assert all(dataset.traj is not None or dataset.action is not None for dataset in parsed)


@given(st.floats(-1, 1), st.integers(0, 200))
def test_a_share_and_its_negative_take_as_many_from_both_ends(share: float, count: int) -> None:
    front, back = chosen_episodes(abs(share), count), chosen_episodes(-abs(share), count)
    assert len(front) == len(back) == int(count * abs(share))
    assert not front or front[0] == 0
    assert not back or share == 0 or back[-1] == count - 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("[]", "is not the name of a dataset folder"),
        ("libero_goal", "names no share of the episodes; write 'libero_goal:traj0.9'"),
        ("libero_10:0.9", "'0.9' is not 'traj' or 'action' followed by a number"),
        ("libero_10:traj", "'traj' is not"),
        ("libero_10:traj1.5", "1.5 is not a share between -1 and 1"),
        ("libero_10:traj50", "50 is not a share"),
        ("libero_10:trajnan", "'trajnan' is not"),
        ("libero_10:traj0.9:traj0.1", "gives the share for 'traj' twice"),
        ("[libero_10:traj0.9", "a bracket is missing"),
        ("libero_10:traj0.9,", "'' is not the name"),
        ("../secret:traj0.9", "is not the name"),
        ([], "the list of datasets is empty"),
    ],
)
def test_malformed_specs_say_what_is_wrong(spec: str | list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_specs(spec)


def test_dataset_strings_agree_with_golden(golden: Path) -> None:
    torch = pytest.importorskip("torch")
    strings = torch.load(golden / "functions.pt", weights_only=True)["dataset_strings"]
    valid = [text for text in strings["strings"] if ":" in text]  # the others the published code ignores silently
    parsed = parse_specs(valid)
    for dataset, (name, expected) in zip(parsed, strings["parsed"], strict=True):
        assert dataset.name == name
        assert {mode: dataset.share(mode) for mode in MODES if dataset.share(mode) is not None} == expected
    for text, dataset in zip(valid, parsed, strict=True):
        first = dataset.traj if dataset.traj is not None else dataset.action
        assert first is not None
        chosen = chosen_episodes(first, 50)
        assert [chosen.start, chosen.stop] == strings["demo_ranges"][text]

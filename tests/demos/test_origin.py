"""Where demonstrations came from: read from their files, kept in a checkpoint's info, joined."""

from demos.origin import Origin


def test_what_is_known_survives_a_checkpoint_and_the_rest_is_absent() -> None:
    known = Origin(("open it",), None)
    assert known.to_info() == {"instructions": ["open it"]}
    assert Origin.from_info({"step": 3, **known.to_info()}) == known
    assert Origin.from_info({}) == Origin()
    assert Origin.from_info({"instructions": []}) == Origin(())


def test_joining_keeps_order_and_what_only_one_knows() -> None:
    both = Origin(("a", "b"), ("x",)) | Origin(("c", "a"))
    assert both == Origin(("a", "b", "c"), ("x",))
    assert Origin() | Origin() == Origin()

"""The instruction that the name of a task or of a demonstration file spells out."""


def language_of(stem: str) -> str:
    """The instruction in a LIBERO name, without the scene that names of LIBERO-100 begin with (reference section 8).

    >>> language_of("KITCHEN_SCENE10_put_the_butter_demo")
    'put the butter'
    """
    stem = stem.removesuffix(".bddl").removesuffix("_demo")
    if stem[:1].isupper() and "SCENE" in stem:
        stem = stem.split("SCENE", 1)[1].lstrip("0123456789")
    return stem.replace("_", " ").strip()

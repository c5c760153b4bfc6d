"""Facts of the groceries: what each package measures, weighs and looks like (metres, kilograms, colours 0 to 1).

Measured from the published models: bounding boxes, inertia, radii and heights of necks and caps.
"""

from sim.libero.procedural.mjcf import Inertia, Paint, Vec
from sim.libero.procedural.objects import Bottle, Can, Carton, Glass, Item, Mark
from sim.libero.procedural.paints import BLACK, BLUE, CREAM, GREEN, LEAF, ORANGE, RED, SKY, TAN, WHITE, YELLOW
from sim.libero.procedural.shapes import Z_TO_Y

HOPE = "stable_hope_objects"

GROCERIES: dict[str, Item] = {
    "alphabet_soup": Can(
        folder=HOPE,
        inertia=Inertia(0.02585, (0.0, -0.0008, -0.0027), (1.82e-05, 1.34e-05, 1.87e-05)),
        bottom=-0.04,
        centre=(0.0, -0.0005, -0.0037),
        apothem=0.0306,
        half_height=0.0380,
        seen_radius=0.0330,
        seen_half_height=0.0416,
        bands=(
            (0.04, 0.42, ORANGE),
            (0.42, 0.48, WHITE),
            (0.48, 0.62, Paint((0.62, 0.74, 0.86))),
            (0.62, 0.80, YELLOW),
            (0.80, 0.95, SKY),
        ),
        spots=((0.24, 0.009, YELLOW), (0.71, 0.006, BLUE)),
        turn=Z_TO_Y,
    ),
    "tomato_sauce": Can(
        folder=HOPE,
        inertia=Inertia(0.02663, (0.0006, -0.0008, -0.0023), (1.88e-05, 1.39e-05, 1.94e-05)),
        centre=(0.0, -0.0005, -0.0033),
        apothem=0.0304,
        half_height=0.0380,
        seen_radius=0.0332,
        seen_half_height=0.0414,
        bands=((0.04, 0.44, WHITE), (0.44, 0.76, GREEN), (0.76, 0.95, RED)),
        spots=((0.24, 0.013, RED), (0.60, 0.008, WHITE)),
        turn=Z_TO_Y,
    ),
    "bbq_sauce": Bottle(
        folder=HOPE,
        inertia=Inertia(0.01218, (0.0, 0.0, -0.0076), (1.116e-05, 1.211e-05, 2.60e-06)),
        top=0.06,
        radius=0.015,
        slabs=((-0.0546, -0.0010, 0.0235, 0.0145), (-0.0023, 0.0269, 0.0181, 0.0143)),
        rounds=((0.0257, 0.0525, 0.0131),),
        glass=(
            Glass(Paint((0.36, 0.10, 0.03)), ((-0.0571, 0.0225, 0.0150), (-0.0530, 0.0248, 0.0165),
                  (-0.0050, 0.0248, 0.0165), (0.0150, 0.0200, 0.0158), (0.0310, 0.0130, 0.0130))),
            Glass(Paint((0.60, 0.20, 0.04)), ((0.0310, 0.0140, 0.0140), (0.0540, 0.0130, 0.0130),
                  (0.0571, 0.0100, 0.0100))),
        ),
        labels=tuple((((0.0, y, -0.026), (0.019, 0.004, 0.024), YELLOW)) for y in (-0.0132, 0.0132))
        + tuple((((0.0, y, -0.032), (0.009, 0.004, 0.009), RED)) for y in (-0.0142, 0.0142)),
    ),
    "ketchup": Bottle(
        folder=HOPE,
        inertia=Inertia(0.02322, (0.0004, -0.0090, 0.0008), (3.79e-05, 6.99e-06, 4.03e-05)),
        centre=(0.0004, 0.0, 0.0008),
        slabs=(
            (-0.0725, -0.0063, 0.0281, 0.0169),
            (-0.0076, 0.0150, 0.0239, 0.0183),
            (0.0138, 0.0364, 0.0187, 0.0183),
        ),
        rounds=((0.0362, 0.0732, 0.0155),),
        glass=(
            Glass(Paint((0.74, 0.16, 0.03)), ((-0.0743, 0.0280, 0.0180), (-0.0690, 0.0322, 0.0216),
                  (-0.0200, 0.0315, 0.0216), (0.0200, 0.0205, 0.0190), (0.0390, 0.0145, 0.0145))),
            Glass(WHITE, ((0.0390, 0.0160, 0.0160), (0.0743, 0.0135, 0.0135))),
        ),
        labels=tuple((((0.0, y, -0.026), (0.024, 0.006, 0.024), WHITE)) for y in (-0.0172, 0.0172))
        + tuple((((0.0, y, -0.034), (0.012, 0.006, 0.010), RED)) for y in (-0.0178, 0.0178)),
        turn=Z_TO_Y,
    ),
    "butter": Carton(
        folder=HOPE,
        inertia=Inertia(0.00525, (0.0, 0.0, 0.0), (8.16e-07, 2.67e-06, 3.22e-06)),
        bottom=-0.02,
        top=0.02,
        radius=0.02,
        half=(0.0381, 0.0198, 0.0087),
        seen=(0.0387, 0.0198, 0.0090),
        paint=Paint((0.86, 0.62, 0.28)),
        marks=(
            Mark("z", (-0.22, 0.0), (0.76, 0.97), Paint((0.80, 0.20, 0.06))),
            Mark("z", (0.76, 0.0), (0.22, 0.97), SKY),
            Mark("z", (0.60, -0.15), (0.26, 0.60), WHITE, round=True),
            Mark("z", (-0.28, 0.45), (0.58, 0.28), YELLOW),
            Mark("z", (-0.28, -0.60), (0.58, 0.24), WHITE),
        ),
    ),
    "cream_cheese": Carton(
        folder=HOPE,
        inertia=Inertia(0.00619, (0.0, 0.0, 0.0), (1.105e-06, 3.569e-06, 4.344e-06)),
        bottom=-0.025,
        top=0.025,
        radius=0.03,
        half=(0.0406, 0.0213, 0.0089),
        seen=(0.0414, 0.0213, 0.0097),
        paint=Paint((0.66, 0.72, 0.84)),
        marks=(
            Mark("z", (0.0, 0.0), (0.72, 0.74), BLUE, round=True),
            Mark("z", (0.0, 0.06), (0.56, 0.20), WHITE),
            Mark("x", (0.0, 0.0), (0.5, 0.5), RED, round=True),
            Mark("-x", (0.0, 0.0), (0.5, 0.5), RED, round=True),
        ),
    ),
    "chocolate_pudding": Carton(
        folder=HOPE,
        inertia=Inertia(0.01019, (-0.0005, 0.0, 0.0006), (2.459e-06, 6.098e-06, 7.281e-06)),
        centre=(-0.0005, 0.0, 0.0006),
        half=(0.0401, 0.0232, 0.0137),
        seen=(0.0417, 0.0248, 0.0149),
        paint=Paint((0.25, 0.11, 0.06)),
        marks=(
            Mark("z", (0.0, 0.68), (0.97, 0.30), Paint((0.55, 0.72, 0.88))),
            Mark("z", (-0.70, 0.72), (0.26, 0.20), RED),
            Mark("z", (0.0, 0.12), (0.86, 0.30), Paint((0.90, 0.72, 0.58))),
            Mark("z", (0.25, -0.60), (0.55, 0.12), WHITE),
            Mark("y", (0.0, 0.0), (0.97, 0.90), Paint((0.55, 0.72, 0.88))),
        ),
    ),
    "cookies": Carton(
        folder=HOPE,
        inertia=Inertia(0.00964, (0.0, 0.0, 0.0), (5.769e-06, 3.381e-06, 8.582e-06)),
        half=(0.0310, 0.0413, 0.0094),
        seen=(0.0307, 0.0418, 0.0100),
        paint=Paint((0.78, 0.16, 0.12)),
        marks=(
            Mark("z", (0.0, 0.78), (0.92, 0.14), WHITE),
            Mark("z", (0.0, 0.50), (0.92, 0.12), CREAM),
            Mark("z", (0.0, -0.26), (0.92, 0.60), Paint((0.86, 0.74, 0.52))),
            Mark("z", (-0.45, -0.05), (0.38, 0.28), TAN, round=True),
            Mark("z", (0.45, -0.10), (0.38, 0.28), TAN, round=True),
            Mark("z", (0.0, -0.52), (0.42, 0.30), TAN, round=True),
            Mark("x", (0.0, 0.0), (0.90, 0.45), WHITE),
            Mark("-x", (0.0, 0.0), (0.90, 0.45), WHITE),
        ),
    ),
    "milk": Carton(
        folder=HOPE,
        inertia=Inertia(0.03167, (0.0004, -0.0120, 0.0), (4.329e-05, 1.449e-05, 4.336e-05)),
        radius=0.03,
        centre=(0.0004, -0.0150, 0.0),
        half=(0.0263, 0.0263, 0.0548),
        seen=(0.0270, 0.0274, 0.0548),
        gable=True,
        lift=-0.0160,
        paint=Paint((0.78, 0.12, 0.10)),
        marks=tuple(
            mark
            for face in ("y", "-y", "x", "-x")
            for mark in (
                Mark(face, (0.0, -0.85), (0.985, 0.15), LEAF),
                Mark(face, (0.0, -0.62), (0.985, 0.12), SKY),
                Mark(face, (0.1, -0.56), (0.55, 0.17), BLACK, round=True),
                Mark(face, (0.0, 0.42), (0.80, 0.16), WHITE),
                Mark(face, (0.0, 0.02), (0.66, 0.08), WHITE),
            )
        ),
        turn=Z_TO_Y,
    ),
    "orange_juice": Carton(
        folder=HOPE,
        inertia=Inertia(0.03167, (-0.0004, -0.0120, 0.0), (4.329e-05, 1.449e-05, 4.336e-05)),
        centre=(-0.0004, -0.0150, 0.0),
        half=(0.0263, 0.0263, 0.0548),
        seen=(0.0268, 0.0273, 0.0548),
        gable=True,
        lift=-0.0165,
        paint=Paint((0.94, 0.82, 0.20)),
        marks=tuple(
            mark
            for face in ("y", "-y", "x", "-x")
            for mark in (
                Mark(face, (0.0, 0.60), (0.985, 0.40), Paint((0.93, 0.62, 0.10))),
                Mark(face, (0.0, 0.32), (0.80, 0.11), WHITE),
                Mark(face, (0.0, 0.10), (0.80, 0.09), GREEN),
                Mark(face, (0.0, -0.48), (0.92, 0.44), ORANGE, round=True),
            )
        ),
        turn=Z_TO_Y,
    ),
}  # fmt: skip


def _ranch(inner: tuple[str, Vec] | None = None) -> Bottle:
    """The two salad dressings are one bottle; the newer hangs below another body."""
    return Bottle(
        folder=HOPE,
        inertia=Inertia(0.02178, (-0.0005, -0.0056, 0.0002), (3.397e-05, 5.193e-06, 3.519e-05)),
        centre=(-0.0007, 0.0, 0.0002),
        slabs=(
            (-0.0728, -0.0640, 0.0173, 0.0173),
            (-0.0640, -0.0516, 0.0222, 0.0173),
            (-0.0524, -0.0104, 0.0264, 0.0173),
            (-0.0104, 0.0013, 0.0229, 0.0173),
            (0.0013, 0.0128, 0.0171, 0.0173),
            (0.0100, 0.0358, 0.0129, 0.0149),
        ),
        rounds=((0.0356, 0.0728, 0.0158),),
        glass=(
            Glass(Paint((0.80, 0.82, 0.78)), ((-0.0737, 0.0250, 0.0170), (-0.0640, 0.0310, 0.0212),
                  (-0.0300, 0.0320, 0.0218), (0.0050, 0.0235, 0.0195), (0.0380, 0.0150, 0.0150))),
            Glass(GREEN, ((0.0300, 0.0170, 0.0170), (0.0737, 0.0155, 0.0155))),
        ),
        labels=tuple((((0.0, y, -0.030), (0.024, 0.006, 0.026), LEAF)) for y in (-0.0172, 0.0172))
        + tuple((((0.0, y, -0.024), (0.018, 0.006, 0.014), WHITE)) for y in (-0.0180, 0.0180))
        + tuple((((0.004, y, -0.046), (0.012, 0.006, 0.007), ORANGE)) for y in (-0.0180, 0.0180)),
        turn=Z_TO_Y,
        inner=inner,
    )  # fmt: skip


GROCERIES["salad_dressing"] = _ranch()
# 'sald' is LIBERO's spelling; body names are part of the contract.
GROCERIES["new_salad_dressing"] = _ranch(inner=("sald_dressing_body", (0.0, 0.05, 0.0)))

"""The pack's models against what the published ones measure: bounds, masses, sites, joints. Needs no published file."""

import mujoco
import numpy as np
import pytest

from sim.libero.procedural.mjcf import Model
from sim.libero.procedural.pack import models

BOUNDS = """
name mass(g) solid: low(x y z mm) high(x y z mm) seen: low(x y z mm) high(x y z mm)
akita_black_bowl 5.591 -53.8 -53.9 1.6 53.4 53.1 52.1 -53.8 -53.9 1.6 53.4 53.1 52.1
alphabet_soup 25.85 -31.3 -38.6 -34.9 31.1 37.6 27.5 -33.0 -42.0 -35.7 33.0 41.6 35.4
basket 136.1 -84.1 -78.5 4.2 85.4 78.8 145.7 -84.1 -78.5 4.2 85.4 78.8 145.7
bbq_sauce 12.18 -23.5 -14.6 -54.6 23.5 14.6 52.5 -24.9 -16.7 -57.1 24.9 16.7 57.1
black_book 42.55 -14.8 -67.3 2.2 13.9 43.0 136.6 -15.5 -68.7 0 14.6 44.6 138.2
butter 5.247 -38.1 -19.8 -8.7 38.1 19.8 8.7 -38.7 -19.6 -9.0 38.7 20.1 9.0
chefmate_8_frypan 50.25 -96.8 -103.2 0.8 259.3 101.1 58.7 -94.2 -101.9 -0.1 261.7 102.5 54.9
chocolate_pudding 10.19 -40.6 -23.2 -13.1 39.6 23.2 14.3 -41.7 -24.7 -14.9 41.7 24.8 15.0
cookies 9.643 -31.0 -41.3 -9.4 31.0 41.3 9.4 -30.7 -41.8 -10.0 30.7 41.8 10.0
cream_cheese 6.194 -40.6 -21.3 -8.9 40.6 21.3 8.9 -41.3 -21.4 -9.7 41.6 21.2 9.7
desk_caddy 278 -75.5 -216.9 1.4 75.5 216.9 168.3 -78.6 -219.6 0 79.2 220.4 169.4
flat_stove 4480 -52.0 -95.0 -20.0 245.0 95.0 50.0 -49.5 -95.0 -20.0 245.0 95.0 53.9
glazed_rim_porcelain_ramekin 9.66 -44.7 -44.4 0.7 44.7 44.7 42.7 -44.4 -44.4 0 44.3 44.3 43.3
ketchup 23.22 -27.7 -72.4 -17.6 28.6 73.2 19.1 -32.3 -74.3 -21.7 32.3 74.3 21.7
microwave 3260 -172.5 -152.0 0 172.5 111.0 188.5 -172.3 -152.0 0 172.3 110.4 186.9
milk 31.67 -26.4 -69.8 -26.3 26.6 61.4 26.3 -27.1 -71.4 -27.2 27.0 71.4 27.7
moka_pot 68.24 -40.6 -56.3 -66.1 40.8 91.2 85.7 -39.6 -60.7 -67.1 39.6 84.5 87.1
new_salad_dressing 21.78 -27.3 -22.7 -18.0 25.4 122.8 17.6 -32.7 -23.7 -21.8 31.3 123.7 21.8
orange_juice 31.67 -26.6 -69.8 -26.3 26.4 61.4 26.3 -26.9 -72.2 -27.3 26.8 72.2 27.3
plate 11.52 -68.0 -68.4 -2.5 69.6 69.1 16.4 -68.6 -68.5 0 68.6 68.5 16.6
porcelain_mug 16.46 -64.7 -49.4 2.4 60.0 46.9 108.5 -65.6 -50.0 0 65.1 46.5 114.6
red_coffee_mug 29.35 -60.7 -47.2 -1.8 62.2 46.0 130.8 -63.1 -46.5 0 63.3 44.2 134.9
salad_dressing 21.78 -27.3 -72.7 -18.0 25.4 72.8 17.6 -32.7 -73.7 -21.8 31.3 73.7 21.8
tomato_sauce 26.63 -31.2 -38.6 -34.1 31.0 37.6 27.5 -33.2 -41.4 -35.1 33.2 41.4 35.1
white_bowl 2.086 -40.8 -40.9 0.6 40.5 40.3 35.1 -42.5 -41.6 0 42.4 41.6 35.3
white_cabinet 9176 -123.4 -109.3 4.6 131.2 111.7 223.0 -124.7 -110.1 4.6 131.8 111.7 221.6
white_yellow_mug 30.91 -71.3 -53.0 -0.1 68.4 53.1 103.1 -69.1 -52.2 0 69.1 50.3 104.8
wine_bottle 15.39 -20.7 -22.0 1.1 21.9 22.2 158.0 -21.6 -21.8 0 21.6 21.6 158.8
wine_rack 152.7 -134.4 -124.4 -2.2 134.4 129.5 328.2 -135.0 -131.5 0 135.0 134.1 323.6
wooden_cabinet 9176 -123.4 -109.3 4.6 131.2 111.7 223.0 -124.7 -110.1 4.6 131.8 111.7 221.6
wooden_tray 57.15 -141.6 -87.6 -1.0 155.5 78.9 80.9 -141.3 -87.9 -0.7 156.1 77.4 81.4
wooden_two_layer_shelf 206.3 -170.8 -79.2 0.2 180.7 111.7 210.6 -170.2 -79.2 0.2 180.3 111.7 209.3
yellow_book 28.12 -10.1 -48.8 2.0 13.4 48.9 124.2 -10.7 -51.4 0 16.2 49.9 123.5
"""

SITES = """
model site body pos(x y z mm) half-extent-along-model-axes(x y z mm)
basket contain_region main 0 0 71.8 61.1 61.1 69.5
desk_caddy right_contain_region main 6.3 -143.4 65.6 62.0 62.2 60.5
desk_caddy left_contain_region main 6.3 145.5 65.6 62.0 62.2 60.5
desk_caddy back_contain_region main 33.6 -0.6 85.6 27.8 62.2 60.5
desk_caddy front_contain_region main -31.0 -0.6 40.5 27.8 62.2 36.0
flat_stove cook_region burner 0 0 0 75.0 75.0 2.5
flat_stove burner burner 0 0 22.0 62.5 62.5 0.5
microwave top_side main 0 10.0 200.0 120.0 83.5 5.0
microwave heating_region main 0 10.0 96.0 120.0 83.5 80.0
white_cabinet top_side base 3.5 15.7 221.5 125.3 94.4 1.5
white_cabinet top_region cabinet_top 3.3 11.3 185.6 102.2 75.6 29.9
white_cabinet middle_region cabinet_middle 3.3 11.3 116.9 102.2 75.6 29.9
white_cabinet bottom_region cabinet_bottom 3.3 11.3 47.0 102.2 75.6 29.9
wine_rack top_region main 0 -80.0 217.5 100.9 12.4 20.7
wooden_cabinet top_side base 3.5 15.7 221.5 125.3 94.4 1.5
wooden_cabinet top_region cabinet_top 3.3 11.3 185.6 102.2 75.6 29.9
wooden_cabinet middle_region cabinet_middle 3.3 11.3 116.9 102.2 75.6 29.9
wooden_cabinet bottom_region cabinet_bottom 3.3 11.3 47.0 102.2 75.6 29.9
wooden_tray contain_region main 8.6 -4.7 42.5 135.5 78.4 40.4
wooden_two_layer_shelf top_side main 5.0 15.7 206.9 175.6 94.4 1.5
wooden_two_layer_shelf top_region main 5.4 16.9 136.7 150.9 85.6 67.4
wooden_two_layer_shelf bottom_region main 5.5 16.9 14.1 155.8 85.6 35.3
"""

JOINTS = """
model joint kind axis(x y z) range(low high) damping
flat_stove button hinge 0 0 1 -0.005 2.1 1
microwave microjoint hinge 0 0 1 -2.094 0 0.5
white_cabinet top_level slide 0 1 0 -0.16 0.01 50
white_cabinet middle_level slide 0 1 0 -0.16 0.01 50
white_cabinet bottom_level slide 0 1 0 -0.16 0.01 50
wooden_cabinet top_level slide 0 1 0 -0.16 0.01 50
wooden_cabinet middle_level slide 0 1 0 -0.16 0.01 50
wooden_cabinet bottom_level slide 0 1 0 -0.16 0.01 50
"""

MODELS = {model.name: model for model in models()}
SOLID, SEEN = 0, 1


def rows(table: str) -> list[tuple[list[str], np.ndarray]]:
    """Words and numbers of each line below a table's title."""
    result = []
    for line in table.strip().splitlines()[1:]:
        fields = line.split()
        count = sum(field[0].isalpha() for field in fields)
        result.append((fields[:count], np.array(fields[count:], dtype=float)))
    return result


def compiled(model: Model) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """The model as MuJoCo sees it, at its zero position, without textures (none is needed to measure)."""
    xml = "\n".join(line for line in model.xml().splitlines() if "<texture" not in line)
    for texture in ("wood_light", "wood_dark", "wood_white", "wood_planks", "brushed_metal"):
        xml = xml.replace(f' texture="{model.name}_{texture}"', "")
    loaded = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(loaded)
    mujoco.mj_forward(loaded, data)
    return loaded, data


def corners(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> np.ndarray:
    """Points that bound a geom, (n, 3), in the frame of the model's 'object' body."""
    size, kind = model.geom_size[geom], model.geom_type[geom]
    signs = np.array(np.meshgrid((-1, 1), (-1, 1), (-1, 1))).reshape(3, -1).T
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        first = model.mesh_vertadr[mesh]
        points = model.mesh_vert[first : first + model.mesh_vertnum[mesh]]
    elif kind == mujoco.mjtGeom.mjGEOM_BOX:
        points = signs * size
    else:
        around = np.linspace(0, 2 * np.pi, 32)
        circle = np.stack([np.cos(around), np.sin(around), 0 * around], axis=1)
        if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID:
            points = np.concatenate([circle, circle[:, [0, 2, 1]], circle[:, [2, 0, 1]]]) * size
        else:
            half = size[1] + (size[0] if kind == mujoco.mjtGeom.mjGEOM_CAPSULE else 0.0)
            rim = 0.0 if kind == mujoco.mjtGeom.mjGEOM_CAPSULE else size[0]
            points = np.concatenate([circle * (rim, rim, 1) + (0, 0, half), circle * (rim, rim, 1) - (0, 0, half)])
    world = points @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
    return world - data.xpos[model.body("object").id]


@pytest.mark.parametrize(("words", "numbers"), rows(BOUNDS), ids=[words[0] for words, _ in rows(BOUNDS)])
def test_an_object_is_as_large_and_heavy_as_the_published_one(words: list[str], numbers: np.ndarray):
    model, data = compiled(MODELS[words[0]])
    mass, bounds = numbers[0] / 1e3, numbers[1:].reshape(2, 2, 3) / 1e3
    assert model.body_mass.sum() == pytest.approx(mass, rel=0.1)
    for group in (SOLID, SEEN):
        points = np.concatenate([corners(model, data, g) for g in range(model.ngeom) if model.geom_group[g] == group])
        measured = np.stack([points.min(axis=0), points.max(axis=0)])
        assert np.abs(np.ptp(measured, axis=0) - np.ptp(bounds[group], axis=0)).max() < 0.0052, "size"
        assert np.abs(measured - bounds[group]).max() < 0.0058, "place"


@pytest.mark.parametrize(("words", "numbers"), rows(SITES), ids=[" ".join(words) for words, _ in rows(SITES)])
def test_a_region_is_where_the_goal_predicates_expect_it(words: list[str], numbers: np.ndarray):
    name, site, body = words
    model, _ = compiled(MODELS[name])
    found = model.site(site)
    assert model.body(model.site_bodyid[found.id]).name == ("object" if body == "main" else body)
    size = found.size if model.site_type[found.id] != mujoco.mjtGeom.mjGEOM_CYLINDER else found.size[[0, 0, 1]]
    extent = np.abs(np.abs(_matrix(found.quat)) @ size)
    assert np.abs(np.concatenate([found.pos, extent]) * 1e3 - numbers).max() < 0.2


@pytest.mark.parametrize(("words", "numbers"), rows(JOINTS), ids=[" ".join(words) for words, _ in rows(JOINTS)])
def test_a_joint_moves_as_the_published_one(words: list[str], numbers: np.ndarray):
    name, joint, kind = words
    model, _ = compiled(MODELS[name])
    found = model.joint(joint)
    kinds = {"slide": mujoco.mjtJoint.mjJNT_SLIDE, "hinge": mujoco.mjtJoint.mjJNT_HINGE}
    assert model.jnt_type[found.id] == kinds[kind]
    damping = model.dof_damping[model.jnt_dofadr[found.id]]
    np.testing.assert_allclose([*found.axis, *found.range, damping], numbers)
    assert model.qpos0[model.jnt_qposadr[found.id]] == 0.0


def test_solid_shapes_collide_and_visible_ones_do_not():
    for model in MODELS.values():
        loaded, _ = compiled(model)
        seen = loaded.geom_group == SEEN
        assert not (loaded.geom_contype | loaded.geom_conaffinity)[seen].any(), model.name
        assert loaded.geom_conaffinity[~seen].all(), model.name


@pytest.mark.parametrize(
    ("name", "friction"),
    [("plate", (0.95, 0.3, 0.1)), ("wine_rack", (0.95, 0.3, 0.1)), ("microwave", (1, 0.005, 1e-4))],
)
def test_surfaces_are_as_grippy_as_the_published_ones(name: str, friction: tuple[float, ...]):
    loaded, _ = compiled(MODELS[name])
    solid = loaded.geom_friction[loaded.geom_group == SOLID]
    np.testing.assert_allclose(solid, np.tile(friction, (len(solid), 1)))


def _open_cavity(name: str, point: tuple[float, float, float]) -> bool:
    """No solid shape reaches this point (m, in the object's frame)."""
    model, data = compiled(MODELS[name])
    solid = [g for g in range(model.ngeom) if model.geom_group[g] == SOLID]
    local = [(np.asarray(point) - data.geom_xpos[g]) @ data.geom_xmat[g].reshape(3, 3) for g in solid]
    return not any((np.abs(at) < model.geom_size[g]).all() for at, g in zip(local, solid, strict=True))


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("akita_black_bowl", (0.0, 0.0, 0.03)),
        ("red_coffee_mug", (-0.0153, -0.0027, 0.07)),
        ("basket", (0.0, 0.0, 0.08)),
        ("desk_caddy", (0.034, 0.0, 0.08)),
        ("microwave", (-0.04, -0.01, 0.09)),
        ("wooden_cabinet", (0.0033, 0.011, 0.185)),
    ],
)
def test_containers_are_hollow(name: str, point: tuple[float, float, float]):
    assert _open_cavity(name, point)


def _matrix(quat: np.ndarray) -> np.ndarray:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)

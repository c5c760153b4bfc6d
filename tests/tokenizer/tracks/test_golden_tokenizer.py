"""The tokenizer computes what the published one computes."""

from pathlib import Path

import pytest
import torch

from tests.tokenizer.golden import close, load, tokenizer
from tokenizer.code_usage import code_usage
from tokenizer.fsq import FSQ, LEVELS
from tokenizer.tracks import metrics, motion
from tokenizer.transformer import causal_mask, diagonal_mask

VARIANTS = ["joint_causal", "joint_full", "perview_full", "perview_diag", "joint_condimg"]


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_golden_tokenizer(golden: Path, variant: str) -> None:
    model, data = tokenizer(golden, f"tokenizer_{variant}")
    inputs, outputs = data["inputs"], data["outputs"]
    images = inputs.get("cond_images")

    z = model.features(inputs["x"], images)
    codes, indices = model.encode(inputs["x"], images)
    assert close(z, outputs["z"])
    assert close(model.quantize.project_in(z), outputs["z_project_in"])
    half_width = torch.tensor(LEVELS[256]) // 2
    assert close(model.quantize.quantize(outputs["z_project_in"]), outputs["z_bounded"].round() / half_width)
    assert close(model.quantize.bounded(z), outputs["z_bounded"])
    assert torch.equal(indices, outputs["indices"].long())
    assert close(codes, outputs["codes"])
    assert close(model.quantize.indices_to_codes(indices), outputs["indices_to_codes"])

    assert close(model.decoder(codes).flatten(1, 3), outputs["rel_logits"])
    assert close(model.decode(codes), outputs["x_recon"])
    assert close(model(inputs["traj"], images=images).loss, outputs["loss"])


@torch.no_grad()
def test_golden_decoding_a_few_tracks_gives_their_part_of_the_whole(golden: Path) -> None:
    model, data = tokenizer(golden, "tokenizer_joint_causal")
    codes = data["outputs"]["codes"]
    tracks = torch.stack([torch.randperm(16)[:3] for _ in range(4)]).view(2, 2, 3)
    whole = model.decoder(codes)
    wanted = whole.gather(3, tracks[:, :, None, :, None].expand(-1, -1, whole.shape[2], -1, whole.shape[-1]))
    assert close(model.decoder(codes, tracks), wanted, 1e-6)


@pytest.mark.parametrize("size", [16, 64, 256, 512, 1024, 2048, 4096])
def test_golden_fsq(golden: Path, size: int) -> None:
    case = load(golden, "functions")["fsq"][str(size)]
    fsq = FSQ(24, size)
    fsq.load_state_dict(case["state_dict"])
    codes, indices = fsq(case["z"])
    assert list(LEVELS[size]) == case["levels"]
    assert fsq.num_codes == case["prod"]
    assert torch.equal(indices, case["indices"].long())
    assert close(codes, case["codes"])
    assert close(fsq.indices_to_codes(torch.arange(size).unsqueeze(0))[0], case["indices_to_codes_all"])


def test_golden_motion_functions(golden: Path) -> None:
    functions = load(golden, "functions")
    case = functions["points_to_velocities"]
    velocities = motion.points_to_velocities(case["points"], case["time_dim"])
    assert close(velocities, case["velocities"])
    assert close(motion.points_to_velocities(case["points"][:, 0], 1), case["velocities_dim1"])
    start = case["points"].narrow(case["time_dim"], 0, 1)
    assert close(motion.velocities_to_points(velocities, start), case["back"])

    case = functions["unnormalize_traj"]
    assert close(motion.unnormalize(case["traj"], tuple(case["img_shape"])), case["out"])

    case = functions["rel_indices_to_diffs"]
    sizes = tuple(case["global_img_size"]), tuple(case["rel_img_size"])
    assert close(motion.classes_to_velocities(case["idx"], *sizes), case["diffs"])

    case = functions["rel_cls_logits_to_diffs"]
    logits = case["logits"].unflatten(1, case["diffs"].shape[1:4])
    sizes = tuple(case["global_img_size"]), tuple(case["rel_cls_img_size"])
    assert close(motion.likeliest_velocities(logits, *sizes), case["diffs"])
    ties = case["tie_logits"].unflatten(1, case["tie_diffs"].shape[1:4])
    assert torch.equal(motion.likeliest_velocities(ties, (128, 128), (15, 15)) != 0, case["tie_diffs"] != 0)


@pytest.mark.parametrize("case", ["a", "b", "c", "halfpixel"])
def test_golden_motion_classes(golden: Path, case: str) -> None:
    data = load(golden, "functions")["relative_index"][case]
    before = data["input_traj"] if case == "halfpixel" else data["traj"][:, :, :-1]
    after = data["target_traj"] if case == "halfpixel" else data["traj"][:, :, 1:]
    classes = motion.motion_classes(before, after, tuple(data["img_size"]), tuple(data["rel_img_size"]))
    assert torch.equal(classes, data["relative"])


def test_golden_grid_queries(golden: Path) -> None:
    for case in load(golden, "functions")["grid_queries"].values():
        if "views" in case:
            assert close(motion.grid_queries(case["views"], case["n_tracks"]), case["standard"], 1e-6)


def test_golden_metrics(golden: Path) -> None:
    functions = load(golden, "functions")
    for name in ("noisy", "perfect", "static", "noisy_128"):
        case = functions["get_traj_metrics"][name]
        per_pixel = "pixel_accuracy_1" in case["metrics"]
        found = metrics.trajectory_metrics(case["pred"], case["gt"], tuple(case["img_size"]), per_pixel)
        assert found == pytest.approx(case["metrics"], rel=1e-4, abs=1e-6), name
    case = functions["get_traj_metrics"]["cross_track_discount_0.9"]
    assert metrics.cross_track_l2(case["ref"], case["sampled"], 0.9) == pytest.approx(case["value"], rel=1e-5)
    for case in functions["perplexity"].values():
        usage = code_usage(torch.bincount(case["indices"].flatten(), minlength=case["codebook_size"]))
        assert usage["perplexity"] == pytest.approx(case["perplexity"].item(), rel=1e-4)
        assert usage["normalized_perplexity"] == pytest.approx(case["normalized"].item(), rel=1e-4)


def test_golden_masks(golden: Path) -> None:
    masks = load(golden, "functions")["attn_masks"]
    assert torch.equal(causal_mask(6), masks["causal"]["mask"])
    assert torch.equal(causal_mask(9, 4), masks["causal_cond"]["mask"])
    for case in ("diag_cond_0", "diag_cond_3", "diag_cond_9_of_6"):
        assert torch.equal(diagonal_mask(*masks[case]["args"]), masks[case]["mask"])

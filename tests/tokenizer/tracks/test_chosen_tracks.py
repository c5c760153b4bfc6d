"""A step that looks at some tracks, more of them moving ones, expects the loss of a step that looks at all."""

import torch

from tokenizer.tracks.chosen_tracks import choose_tracks

N, PIXEL = 20, 0.1


def half_moving(samples: int = 4000) -> torch.Tensor:
    """(samples, 2, 3, N, 2): in the first view the first 4 tracks move, in the second none does."""
    points = torch.zeros(samples, 2, 3, N, 2)
    points[:, 0, 1:, :4] = PIXEL
    return points


def test_half_of_the_tracks_move_where_any_do() -> None:
    chosen = choose_tracks(half_moving(), 8, 0.5, PIXEL)
    moving = (chosen.tracks < 4).float().mean((0, 2))
    assert abs(moving[0] - (0.5 + 0.5 * 4 / N)) < 0.02
    assert abs(moving[1] - 4 / N) < 0.02


def test_the_weighted_mean_is_that_over_all_tracks() -> None:
    torch.manual_seed(0)
    values = torch.linspace(0, 3, N) ** 2  # any function of the track
    values[:4] += 5
    chosen = choose_tracks(half_moving(), 8, 0.5, PIXEL)
    assert chosen.weights is not None
    estimates = (values[chosen.tracks] * chosen.weights).mean(2)  # (samples, views)
    error = estimates.std(0) / len(estimates) ** 0.5
    assert ((estimates.mean(0) - values.mean()).abs() < 4 * error).all()
    assert abs(chosen.weights[:, 0].mean() - 1) < 0.02
    assert (chosen.weights[:, 1] == 1).all()
    assert chosen.weights.max() <= 2


def test_looking_at_moving_tracks_lowers_the_spread_of_what_is_known_of_motion() -> None:
    torch.manual_seed(0)
    values = (torch.arange(N) < 4).float()
    spread = {}
    for share in (0.0, 0.5):
        chosen = choose_tracks(half_moving(), 8, share, PIXEL)
        weights = torch.ones(()) if chosen.weights is None else chosen.weights
        spread[share] = (values[chosen.tracks] * weights).mean(2)[:, 0].std()
    assert spread[0.5] < 0.8 * spread[0.0]


def test_without_a_moving_share_tracks_are_drawn_once_each_and_count_alike() -> None:
    chosen = choose_tracks(half_moving(3), N, 0.0, PIXEL)
    assert chosen.weights is None
    assert torch.equal(chosen.tracks.sort(-1).values, torch.arange(N).expand(3, 2, N))


def test_even_a_single_track_may_be_one_that_stands_still() -> None:
    chosen = choose_tracks(half_moving(), 1, 0.9, PIXEL)
    assert (chosen.tracks[:, 0] >= 4).any()

"""Mixed precision as all trainers use it: autocast chooses the type of every operation, batches stay what they are."""

from typing import Any

from lightning_fabric.plugins.precision import MixedPrecision, Precision

from training.config import TrainingConfig


class Autocast(MixedPrecision):
    """Fabric's, without its rounding of all inputs before the model sees them.

    In bfloat16 a point near the image's edge would be off by up to an eighth of a pixel, and slow motion gone.
    """

    def convert_input(self, data: Any) -> Any:
        """``data`` as it is."""
        return data


def precision_plugin(config: TrainingConfig) -> Precision:
    """What Fabric computes with; 16-mixed brings a loss scaler, on a CPU too."""
    precision = config.effective_precision
    return Precision() if precision == "32-true" else Autocast(precision, config.compute_device)

"""Models of the optional library ``transformers``: asked for by name, and given weights that were read safely."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from common.errors import UserError


def transformers(what: str) -> ModuleType:
    """The library; raises UserError where it is not installed, since ``what`` needs it."""
    try:
        import transformers as library
    except ImportError:
        raise UserError(f"{what} needs transformers; run \"pip install 'amplify-deploy[encoders]'\"") from None
    return library


def from_weights(model_class: Any, config: Any, weights: Mapping[str, Tensor], path: Path, **options: Any) -> Any:
    """A ``model_class`` with all of its weights among ``weights``, which were read from ``path``.

    Names of older releases are understood, and weights of parts that it does not have are left out.

    Raises:
        UserError: a weight is missing or of another shape.
    """
    logging = transformers(model_class.__name__).utils.logging
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        model, found = model_class.from_pretrained(
            None, config=config, state_dict=dict(weights), output_loading_info=True, **options
        )
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"{path} does not fit its configuration: {' '.join(str(error).split())[:200]}") from None
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    if missing := sorted(found["missing_keys"]):
        raise UserError(f"{path} lacks the weight {missing[0]}" + (" and others" if len(missing) > 1 else ""))
    return model.eval()

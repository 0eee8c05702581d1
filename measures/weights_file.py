"""Weights of other networks, measures of pictures, read without running what strangers wrote."""
import numpy as np

from backend.errors import UserError
from weights import containers
from weights.bounds import Refused, short
from weights.unpickle import values


def read_state(path, shapes, wanted):
    """{name: float32 array} of a PyTorch state_dict in `path`: those that `shapes` names.

    wanted: what it should be, in words. Raises UserError, one line.
    """
    try:
        _, content = containers.read(path)
        if not isinstance(content, dict):
            raise Refused(f"found a {type(content).__name__}")
        found = values(content)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (ValueError, AttributeError, IndexError, KeyError, TypeError, MemoryError,
            OverflowError) as error:
        raise UserError(f"{path}: {short(error)}; wanted {wanted}") from None
    wrong = [name for name, shape in shapes.items()
             if name not in found or found[name].shape != shape or found[name].dtype.kind != "f"]
    if wrong:
        what = f"has shape {found[wrong[0]].shape}" if wrong[0] in found else "is missing"
        raise UserError(f"{path}: {len(wrong)} of {len(shapes)} arrays do not fit, "
                        f"{wrong[0]} {what}; wanted {wanted}")
    return {name: np.asarray(found[name], "float32") for name in shapes}

"""Two descriptions of runs compared: whether they are the same run, and in what they differ.

Those of checkpoints that an older version wrote say less; as much as they say is compared.
"""

import functools
import json
from typing import Any

import jax
from jax.tree_util import keystr

LATER = ("structure", "shapes", "functions")  # what older versions did not say
OF_FIELDS = ("structure", "functions")  # in which 1, 1.0 and true are told apart


def agree(there: str, wanted: str, but_for: tuple[str, ...] = ()) -> bool:
    """Whether two identities are those of the same run, but for some of its parts."""
    was, now = ({**said, **dict.fromkeys(but_for)} for said in _compared(there, wanted))
    return was == now and all(_written(was.get(it)) == _written(now.get(it)) for it in OF_FIELDS)


def _written(said: Any) -> str:
    """As text: to Python true and 1 and 1.0 are equal."""
    return json.dumps(said, sort_keys=True)


def _compared(there: str, wanted: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What two identities say, if both are JSON; of `wanted` as much as the other one says."""
    try:
        was, now = json.loads(there), json.loads(wanted)
    except json.JSONDecodeError:
        was, now = there, wanted
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return {"identity": was}, {"identity": now}
    for name in LATER:
        if name not in was:
            now.pop(name, None)
    return was, now


def difference(there: str, this_run: str) -> str:
    """The first field in which two runs differ."""
    flat = functools.partial(jax.tree.leaves_with_path, is_leaf=lambda it: not it)
    was, now = ({keystr(at): leaf for at, leaf in flat(it)} for it in _compared(there, this_run))
    known = {name: (was.get(name, "absent"), now.get(name, "absent")) for name in now | was}
    of_fields = tuple(f"[{part!r}]" for part in OF_FIELDS)
    differ = [
        name
        for name, (before, after) in known.items()
        if before != after or (name.startswith(of_fields) and _written(before) != _written(after))
    ]
    name = differ[0] if differ else ""
    if name.startswith("['code']"):
        return f"the file of {name.split(repr('code') + ']')[1][2:-2]} was changed since"
    return f"{name} was {was.get(name, 'absent')!r} and is {now.get(name, 'absent')!r} now"

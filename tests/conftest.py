"""Types and shapes are checked in every test: jaxtyping's axis words with beartype, on promptax only.

The hook has to be there before promptax is imported for the first time.
"""

import jaxtyping
import pytest

jaxtyping.install_import_hook("promptax", "beartype.beartype")


@pytest.fixture
def as_users_see_it(monkeypatch):
    """Without the tests' type checks: values of a wrong kind reach promptax's own messages."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)

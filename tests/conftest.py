"""Types and shapes are checked in every test: jaxtyping's axis words with beartype, on promptax only.

The hook has to be there before promptax is imported for the first time.
"""

import jaxtyping

jaxtyping.install_import_hook("promptax", "beartype.beartype")

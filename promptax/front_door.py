"""Everything behind the front door, imported: what `import promptax as px` offers as `px.NAME`.

`promptax/__init__.py` comes here when a name is first asked for, so that `promptax --help` need not
wait for JAX. Whoever looks for a member of an open set comes here too (`specs.members`): each room
brings its members.
"""

from promptax import decisions as decisions
from promptax import language as language  # whose classes `load` makes, as those below
from promptax import predictors as predictors
from promptax import steering as steering
from promptax import tasks as tasks
from promptax.evaluation.control_variates import regret as regret
from promptax.evaluation.evaluate import evaluate as evaluate
from promptax.fit.fitted import Fitted as Fitted
from promptax.fit.loop import pretrain as pretrain
from promptax.fit.probes import Probe as Probe
from promptax.fit.settings import FitSettings as FitSettings
from promptax.platforms import use_cores as use_cores
from promptax.protocol.entries import condition as condition
from promptax.protocol.entries import predict as predict
from promptax.protocol.mixture import PromptedMixture as PromptedMixture
from promptax.protocol.mixture import mix as mix
from promptax.protocol.predictions import Prediction as Prediction
from promptax.protocol.predictor import Embedded as Embedded
from promptax.protocol.predictor import Predictor as Predictor
from promptax.protocol.prompted import Prompted as Prompted
from promptax.protocol.repeated import Repeated as Repeated
from promptax.store import Checkpoint as Checkpoint
from promptax.store import load as load
from promptax.store import save as save
from promptax.streaming.batches import generate_batch as generate_batch
from promptax.streaming.compression import code_length as code_length
from promptax.streaming.compression import compress as compress
from promptax.streaming.compression import decompress as decompress
from promptax.streaming.sampling import generate as generate

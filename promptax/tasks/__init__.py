"""Tasks: data generators with their exact predictors. An open set: one file and its line here."""

from promptax.exchangeable import Exchangeable as Exchangeable
from promptax.tasks.base import Episode as Episode
from promptax.tasks.base import Symbols as Symbols
from promptax.tasks.base import Task as Task
from promptax.tasks.categorical import Categorical as Categorical
from promptax.tasks.categorical_mixture import CategoricalMixture as CategoricalMixture
from promptax.tasks.dirichlet_categorical import DirichletCategorical as DirichletCategorical
from promptax.tasks.recorded import Recorded as Recorded
from promptax.tasks.texts import Texts as Texts

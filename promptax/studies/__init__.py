"""Papers run again and judged. An open set: one folder a paper and its line here."""

from promptax.studies.akyurek_2022 import Akyurek2022 as Akyurek2022
from promptax.studies.base import Study as Study
from promptax.studies.coins_in_language import CoinsInLanguage as CoinsInLanguage
from promptax.studies.genewein_2023 import Genewein2023 as Genewein2023
from promptax.studies.genewein_2025 import Genewein2025 as Genewein2025
from promptax.studies.graumoya_2024 import GrauMoya2024 as GrauMoya2024
from promptax.studies.learning_to_learn import LearningToLearn as LearningToLearn
from promptax.studies.prompt_arena import PromptArena as PromptArena
from promptax.studies.reddy_2023 import Reddy2023 as Reddy2023
from promptax.studies.word_tasks import WordTasks as WordTasks
from promptax.studies.wurgaft_2025 import Wurgaft2025 as Wurgaft2025

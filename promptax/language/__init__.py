"""All that knows text: models, tokenizers, texts as tasks, adapters, word tasks."""

from promptax.language.demonstrated import Demonstrated as Demonstrated
from promptax.language.language_model import LanguageModel as LanguageModel
from promptax.language.spelled import SpelledNetwork as SpelledNetwork
from promptax.language.text_model import TextModel as TextModel
from promptax.language.texts import Texts as Texts
from promptax.language.tokenizer import Tokenizer as Tokenizer

"""Text that comes piece by piece is the text that comes at once, whatever puts words together."""

import random

import pytest
import tokenizers
from tokenizers import decoders, models

from promptax.language import Tokenizer

WORDS = (
    "▁Hello", "▁world", "▁", "a", "b", "<0xE6>", "<0x97>", "<0xA5>", "日", "▁n't", ".", "</w>",
    "cat</w>", "##ing", "play", "<unk>", "<s>", "Ġhi", "Ċ", "Ġ", "Ã", "©", " ", "\n", "\ufffd",
)  # fmt: skip
OF_LLAMA = decoders.Sequence(
    [
        decoders.Replace("▁", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
)
DECODERS = {
    "none": None,
    "spaces before": decoders.Metaspace(),
    "spaces before all": decoders.Metaspace(prepend_scheme="never"),
    "bytes": decoders.ByteLevel(),
    "pieces of words": decoders.WordPiece(),
    "ends of words": decoders.BPEDecoder(),
    "no repetitions": decoders.CTC(),
    "bytes of characters": OF_LLAMA,
    "fused": decoders.Fuse(),
    "replaced": decoders.Replace("a", "bb"),
}


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
def test_pieces_of_text_together_are_the_text(decoder):
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    model = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    if decoder is not None:
        model.decoder = decoder
    model.add_special_tokens(["<s>"])
    tokenizer, draw = Tokenizer(model, len(WORDS), None, None), random.Random(0)
    for _ in range(150):
        tokens = [draw.randrange(len(WORDS)) for _ in range(draw.randrange(9))]
        for special in (True, False):
            together = "".join(tokenizer.stream(tokens, special))
            assert together == tokenizer.decode(tokens, special), [WORDS[t] for t in tokens]
